//! Rigs that outlive a failure for somebody who looks: with `RIG_KEEP=1` the thread that fails stands still, and with it
//! the process that owns the rig.

use std::path::PathBuf;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

static KUBECONFIGS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static HOOK: Once = Once::new();

/// Takes note of a rig, and of what happens when a test of this process fails.
pub(crate) fn on_failure(kubeconfig: PathBuf) {
    if std::env::var_os("RIG_KEEP").is_none() {
        return;
    }
    KUBECONFIGS.lock().unwrap_or_else(PoisonError::into_inner).push(kubeconfig);
    HOOK.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |failure| {
            tell(failure);
            let rigs = KUBECONFIGS.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for kubeconfig in rigs.iter().filter(|file| file.exists()) {
                eprintln!("the rig is kept: export KUBECONFIG={}", kubeconfig.display());
            }
            eprintln!("it ends with this process: kill {}", std::process::id());
            loop {
                std::thread::sleep(Duration::from_hours(1));
            }
        }));
    });
}
