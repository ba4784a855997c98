use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::super::{CommandLine, Config, Problems};
use super::{KEY, environment};

type Tested = Result<(), Box<dyn std::error::Error>>;

fn variables(folder: &Path) -> Vec<(String, String)> {
    let store = format!("sqlite:{}", folder.join("ckgate.db").display());
    environment(&[("CKGATE_SERVER_KEY", KEY), ("CKGATE_STORE__URL", &store)])
}

fn load(folder: &Path) -> Result<Config, Problems> {
    Config::load(None, variables(folder), CommandLine::default())
}

fn refusal(folder: &Path) -> String {
    load(folder).err().map_or_else(String::new, |problems| problems.to_string())
}

#[test]
fn first_start_makes_a_key_file_beside_the_store_and_keeps_it() -> Tested {
    let folder = tempfile::tempdir()?;
    let files = load(folder.path())?.files;
    let key = folder.path().join("ckgate.key");
    assert!(files.contains(&key), "{files:?}");
    let text = fs::read_to_string(&key)?;
    crate::token::MasterKey::parse(&text)?;
    assert_eq!(fs::metadata(&key)?.permissions().mode() & 0o777, 0o600);

    fs::write(folder.path().join("ckgate.db"), "records")?;
    load(folder.path())?;
    assert_eq!(fs::read_to_string(&key)?, text);
    Ok(())
}

#[test]
fn checking_and_loading_from_memory_make_no_file() -> Tested {
    let folder = tempfile::tempdir()?;
    Config::check(None, variables(folder.path()), CommandLine::default())?;
    Config::from_toml("", variables(folder.path()))?;
    assert_eq!(fs::read_dir(folder.path())?.count(), 0);
    Ok(())
}

#[test]
fn no_file_is_made_while_anything_else_is_wrong() -> Tested {
    let folder = tempfile::tempdir()?;
    let mut variables = variables(folder.path());
    variables.push(("CKGATE_LOG__LEVEL".to_owned(), "loud".to_owned()));
    assert!(Config::load(None, variables, CommandLine::default()).is_err());
    assert_eq!(fs::read_dir(folder.path())?.count(), 0);
    Ok(())
}

#[test]
fn store_without_its_key_file_is_refused() -> Tested {
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("ckgate.db");
    fs::write(&store, "")?;
    Config::check(None, variables(folder.path()), CommandLine::default())?;
    fs::write(&store, "records")?;
    let found = load(folder.path()).err().ok_or("it loads")?;
    assert!(found.to_string().contains("all its tokens would be dead"), "{found}");
    let key = folder.path().join("ckgate.key");
    assert!(!key.exists());
    assert_eq!(found.secret_files(), [key], "it may be put back");
    Ok(())
}

#[test]
fn damaged_exposed_or_unwritable_key_files_are_refused() -> Tested {
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("ckgate.key");
    for (content, mode, part) in [
        ("", 0o600, "is empty"),
        ("hunter2", 0o600, "this is no master key"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", 0o640, "has mode 0640"),
    ] {
        fs::write(&key, content)?;
        fs::set_permissions(&key, fs::Permissions::from_mode(mode))?;
        let found = refusal(folder.path());
        assert!(found.contains(part) && !found.contains("hunter2"), "{found}");
        assert_eq!(fs::read_to_string(&key)?, content);
    }
    let found = refusal(&folder.path().join("absent"));
    assert!(found.contains("cannot be made: No such file"), "{found}");
    Ok(())
}

#[test]
fn link_to_nowhere_is_not_taken_for_a_missing_key_file() -> Tested {
    let folder = tempfile::tempdir()?;
    let (key, target) = (folder.path().join("ckgate.key"), folder.path().join("elsewhere"));
    std::os::unix::fs::symlink(&target, &key)?;
    assert!(refusal(folder.path()).contains("cannot be read"));
    assert!(!target.exists());
    Ok(())
}
