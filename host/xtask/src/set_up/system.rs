//! Installs system packages with apt, as root or with sudo if it needs no password. Otherwise, the
//! error says what to install.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Installs the packages. `reason` tells the user why they are needed.
pub(super) fn install(packages: &[&str], reason: &str) -> Result<()> {
    let by_hand = format!(
        "apt-get update && apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    if !process::succeeds(Command::new("apt-get").arg("--version")) {
        bail!(
            "{reason}; this system has no apt: install its equivalents of {}",
            packages.join(" ")
        );
    }
    let Some(privilege) = Privilege::find() else {
        bail!("{reason}; run this as root, then try again:\n    sudo sh -c '{by_hand}'");
    };
    eprintln!("{reason}: installing {}", packages.join(" "));
    let told = || format!("could not install the packages; run this as root:\n    {by_hand}");
    process::run(privilege.apt_get().arg("update")).with_context(told)?;
    let mut install = privilege.apt_get();
    install.args(["install", "-y", "--no-install-recommends"]).args(packages);
    process::run(&mut install).with_context(told)
}

/// How this user can install packages.
enum Privilege {
    Root,
    Sudo,
}

impl Privilege {
    fn find() -> Option<Self> {
        let id = process::output(Command::new("id").arg("-u")).ok()?;
        if id.trim() == "0" {
            return Some(Self::Root);
        }
        process::succeeds(Command::new("sudo").args(["-n", "true"])).then_some(Self::Sudo)
    }

    fn apt_get(&self) -> Command {
        // Through `env`, because sudo drops the environment.
        let mut command = match self {
            Self::Root => Command::new("env"),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.args(["-n", "env"]);
                command
            }
        };
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]);
        // Waits for another installation that may be running.
        command.args(["-o", "DPkg::Lock::Timeout=300"]);
        command
    }
}
