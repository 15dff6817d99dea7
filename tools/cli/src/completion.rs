//! `cobring completion`: shell completion.

use std::io;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::Cli;
use crate::exit::Failure;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cobring completion bash > /etc/bash_completion.d/cobring
  cobring completion zsh > ~/.zfunc/_cobring")]
pub(crate) struct Completion {
    /// The shell.
    shell: Shell,
}

impl Completion {
    #[expect(clippy::unnecessary_wraps, reason = "as every subcommand")]
    pub(crate) fn run(self) -> Result<(), Failure> {
        clap_complete::generate(
            self.shell,
            &mut Cli::command(),
            "cobring",
            &mut io::stdout().lock(),
        );
        Ok(())
    }
}
