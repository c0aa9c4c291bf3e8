//! The program `photog`: parse, dispatch, exit code; nothing else.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match photog::cli::run(photog::cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // One line: what happened and what to do. Some causes, such as a place in a TOML file,
            // come in several. Standard output carries results only.
            let text = format!("photog: {error:#}");
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            eprintln!("{}", lines.join(" "));
            ExitCode::FAILURE
        }
    }
}
