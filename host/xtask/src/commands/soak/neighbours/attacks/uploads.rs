//! Uploads of plugins by somebody whose token allows them: ones that take long to compile, ones that arrive slowly,
//! and whatever is no plugin.

use std::sync::{Arc, OnceLock};

use anyhow::Result;
use weir_test_components::{bomb, with_manifest};

use super::slow::hold;
use crate::commands::soak::experiment::target::{Admin, Target};
use crate::commands::soak::experiment::texts::new_manifest;

const PATH: &str = "/admin/v1/plugins";
const BOMBERS: usize = 4;
const DRIPPING: usize = 64;
const RUBBISH: usize = 8;
/// Almost as large as a plugin may be, by default.
const ANNOUNCED: usize = 32 << 20;
/// Of what drips, this comes at once.
const SENT: usize = 1 << 20;
const TOO_LARGE: usize = 100 << 20;

/// Components that take longer to compile, and more memory, than they may.
fn bombs() -> &'static [Vec<u8>; 2] {
    static BOMBS: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    // Almost as many bytes of code as a plugin may have; and a function that is as long as one may be.
    BOMBS.get_or_init(|| [bomb(20_000, 128), bomb(1, 600_000)])
}

pub(super) async fn of_bombs(target: Target) -> Result<()> {
    let (admin, bombs) = (target.admin()?, bombs());
    target
        .crowd(BOMBERS, move |target| {
            let admin = Arc::clone(&admin);
            async move {
                for bomb in bombs {
                    push(&target, &admin, with_manifest(bomb, &new_manifest())).await;
                }
            }
        })
        .await
}

pub(super) async fn that_drip(target: Target) -> Result<()> {
    let admin = target.admin()?;
    target
        .crowd(DRIPPING, move |target| {
            let admin = Arc::clone(&admin);
            async move {
                let mut sent = head(&admin, ANNOUNCED).into_bytes();
                sent.extend(with_manifest(&bomb(1, SENT / 12), &new_manifest()));
                hold(&target, admin.address, &sent, Some(b"\0")).await;
            }
        })
        .await
}

pub(super) async fn of_rubbish(target: Target) -> Result<()> {
    let admin = target.admin()?;
    target
        .crowd(RUBBISH, move |target| {
            let admin = Arc::clone(&admin);
            async move {
                // It compiles, and exports nothing.
                let whole = with_manifest(&bomb(100, 100), &new_manifest());
                let half = whole[..whole.len() / 2].to_vec();
                let mut damaged = whole.clone();
                damaged[8..].iter_mut().step_by(3).for_each(|byte| *byte ^= 0x55);
                for plugin in [whole, half, damaged, bomb(100, 100)] {
                    push(&target, &admin, plugin).await;
                }
                hold(&target, admin.address, head(&admin, TOO_LARGE).as_bytes(), None).await;
            }
        })
        .await
}

async fn push(target: &Target, admin: &Admin, plugin: Vec<u8>) {
    let url = format!("http://{}{PATH}", admin.address);
    target.noted(target.http.post(url).bearer_auth(&admin.token).body(plugin)).await;
}

/// The head of an upload of so many bytes.
fn head(admin: &Admin, bytes: usize) -> String {
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: {bytes}\r\n\r\n",
        admin.token
    )
}
