use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::{KEY, check, check_line, load, problems};
use crate::token::Secret;

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn credential_file(path: &Path) -> String {
    format!("upstream.credential = {{ file = '{}' }}", path.display())
}

#[test]
fn secrets_in_clear_are_refused_and_not_shown() {
    let how = "write `{ env = \"NAME\" }` or `{ file = \"PATH\" }`";
    check_line(
        "upstream.credential = 'hunter2'",
        &format!("`upstream.credential` holds a secret in clear: {how}"),
    );
    check_line(
        "upstream.credential = 12345",
        &format!("`upstream.credential` must not be an integer: {how}"),
    );
    let key = format!("accounts = [{{ name = 'a', server_keys = ['{KEY}'] }}]");
    let message = format!("`accounts[0].server_keys[0]` holds a secret in clear: {how}");
    check_line(&key, &message);
    check(
        "",
        &[("CKGATE_UPSTREAM__CREDENTIAL", "hunter2")],
        &[&format!(
            "CKGATE_UPSTREAM__CREDENTIAL: `upstream.credential` holds a secret in clear: {how}"
        )],
    );
}

#[test]
fn secrets_in_the_place_of_a_variables_name_are_not_shown() {
    for secret in [KEY, "hunter2", "pass word", "1X", ""] {
        check_line(
            &format!("upstream.credential = {{ env = '{secret}' }}"),
            "`upstream.credential` must name a variable in `A-Z`, `0-9` and `_` only",
        );
    }
}

#[test]
fn source_of_a_secret_must_be_one() {
    let one = "`upstream.credential` must have one of `env` and `file`";
    check_line("upstream.credential = {}", one);
    check_line("upstream.credential = { env = 'A', file = 'b' }", one);
    check_line("upstream.credential = { file = '' }", "`upstream.credential` must name a file");
    check_line(
        "upstream.credential = { file = 1 }",
        "`upstream.credential.file` must be a string, not an integer",
    );
    check(
        "upstream.credential = { env = 'A', vault = 'b' }",
        &[("A", "x")],
        &["line 1: unknown key `upstream.credential.vault`: the keys here are `env` and `file`"],
    );
}

#[test]
fn variables_must_be_set_and_hold_something() {
    let credential = "upstream.credential = { env = 'PASSWORD' }";
    let path = "line 1: `upstream.credential`";
    check(credential, &[], &[&format!("{path}: the variable `PASSWORD` is not set")]);
    for empty in ["", "\n", "\r\n"] {
        let message = format!("{path}: the variable `PASSWORD` is empty");
        check(credential, &[("PASSWORD", empty)], &[&message]);
    }
    let message = format!("{path} has characters that a header cannot carry as they are");
    for unfit in ["two words", "a\nb", "pass\u{e4}", "a\tb"] {
        check(credential, &[("PASSWORD", unfit)], &[&message]);
    }
    let message = "LETTA_SERVER_PASSWORD: `upstream.credential`: \
                   the variable `LETTA_SERVER_PASSWORD` is empty";
    check("", &[("LETTA_SERVER_PASSWORD", "")], &[message]);
}

#[test]
fn files_give_their_content_without_the_line_feed() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("password");
    write(&file, "hunter2\r\n\n", 0o400)?;
    let config = load(&credential_file(&file), &[])?;
    assert_eq!(config.upstream.credential.as_ref().map(Secret::expose), Some("hunter2"));
    Ok(())
}

#[test]
fn files_that_others_may_touch_are_refused() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("password");
    for mode in [0o640, 0o604, 0o644, 0o620, 0o602, 0o610] {
        write(&file, "hunter2", mode)?;
        check_line(
            &credential_file(&file),
            &format!(
                "`upstream.credential`: the file `{}` has mode {mode:04o}: only its owner may have \
                 access, as with `chmod 600`",
                file.display()
            ),
        );
    }
    Ok(())
}

#[test]
fn links_are_followed_and_their_target_counts() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let (file, link) = (folder.path().join("password"), folder.path().join("link"));
    symlink(&file, &link)?;
    write(&file, "hunter2", 0o600)?;
    load(&credential_file(&link), &[])?;
    write(&file, "hunter2", 0o644)?;
    assert!(problems(&credential_file(&link), &[]).contains("mode 0644"));
    fs::remove_file(&file)?;
    assert!(problems(&credential_file(&link), &[]).contains("cannot be read"));
    Ok(())
}

#[test]
fn files_that_hold_no_secret_are_refused() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("password");
    for (content, part) in [
        (String::new(), "is empty"),
        ("\n".to_owned(), "is empty"),
        ("x".repeat(4097), "has more than 4096 bytes"),
    ] {
        write(&file, &content, 0o600)?;
        let found = problems(&credential_file(&file), &[]);
        assert!(found.contains(part), "{found}");
    }
    let found = problems(&credential_file(folder.path()), &[]);
    assert!(found.contains("is not a regular file"), "{found}");
    let found = problems(&credential_file(&folder.path().join("absent")), &[]);
    assert!(found.contains("cannot be read: No such file"), "{found}");
    Ok(())
}

#[test]
fn printing_a_configuration_shows_no_secret() -> Result<(), super::Problems> {
    let master = "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM";
    let config = load(
        "upstream.credential = { env = 'PASSWORD' }\ntokens.keys = [{ id = 1, env = 'MASTER' }]\n\
         [[accounts]]\nname = 'a'\nserver_keys = [{ env = 'KEY' }]\ncredential = { env = 'OTHER' }",
        &[("PASSWORD", "hunter2"), ("MASTER", master), ("KEY", KEY), ("OTHER", "correct-horse")],
    )?;
    for printed in [format!("{config:?}"), format!("{config:#?}")] {
        for secret in ["hunter2", master, "sk-let-", "correct-horse"] {
            assert!(!printed.contains(secret), "{secret} in {printed}");
        }
    }
    Ok(())
}
