//! What is made out of the command line's own definition.

use std::io;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::arguments::Arguments;
use super::{Outcome, print_line};

/// Prints completions for a shell.
pub(super) fn completions(shell: Shell) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "ckgate", &mut text);
    print_line(String::from_utf8(text)?.trim_end())
}

/// Prints the manual page: the program, then each of its commands.
pub(super) fn man() -> Outcome {
    let mut out = io::stdout().lock();
    let mut program = Arguments::command();
    program.build();
    clap_mangen::Man::new(program.clone()).render(&mut out)?;
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        let page = clap_mangen::Man::new(command.clone());
        page.render_synopsis_section(&mut out)?;
        page.render_description_section(&mut out)?;
        page.render_options_section(&mut out)?;
    }
    Ok(())
}
