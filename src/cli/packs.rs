//! Where a command takes its networks from.

use std::{io::Write as _, path::Path};

use crate::{
    config::{Config, PackChoice},
    models::supply::{PackRule, Supply},
    pack::Pack,
};

/// For a command that works once: the data folder, unless a pack was named.
pub fn of_command(config: &Config) -> Supply {
    supply(config, &config.data_dir, PackRule::Never)
}

/// For the server: the data folder with this root, and the demo pack while that holds no models.
pub fn of_server(config: &Config, folder: &Path) -> Supply {
    supply(config, folder, PackRule::WhileEmpty(Pack::Demo))
}

fn supply(config: &Config, folder: &Path, auto: PackRule) -> Supply {
    let rule = match config.pack {
        PackChoice::Auto => auto,
        PackChoice::None => PackRule::Never,
        PackChoice::Named(pack) => PackRule::Always(pack),
    };
    Supply::new(folder, rule)
}

/// Says on standard error what is to be said of the networks, if there is something.
pub fn tell(notice: Option<&str>) {
    if let Some(notice) = notice {
        // Who closed standard error does not want to read it.
        let _ = writeln!(std::io::stderr(), "photog: {notice}");
    }
}
