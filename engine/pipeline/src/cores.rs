//! Cores: pinning, and the layout that a host can carry.

use rustix::thread::{sched_getaffinity, sched_setaffinity};

use crate::idle::Idle;
use crate::stages::Layout;

/// Cores that the staged layout needs: ingest, parse, aggregate, and one for everything else.
const CORES_FOR_STAGED: usize = 4;

/// Pins the calling thread; a core that does not exist leaves it unpinned (the configuration is checked
/// before, so that happens only when the host changes underneath).
pub fn pin(core: Option<usize>) -> bool {
    core.is_some_and(|id| core_affinity::set_for_current(core_affinity::CoreId { id }))
}

/// Does the work on a core, after which this thread may run where it might before. What the work touches first is memory of
/// that core's NUMA node (set_mempolicy(2), "default policy"): so state is made on the core that will use it.
pub fn on_core<R>(core: Option<usize>, work: impl FnOnce() -> R) -> R {
    let before = sched_getaffinity(None);
    let is_pinned = pin(core);
    let made = work();
    if is_pinned && let Ok(before) = before {
        // Refused only where the host changes underneath, as in `pin`.
        let _ = sched_setaffinity(None, &before);
    }
    made
}

/// Cores that this process may run on.
#[must_use]
pub fn available() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// The layout for this host where none is configured: staged and spinning only where each stage can have a
/// core of its own.
#[must_use]
pub fn auto_layout(configured_cores: usize) -> Layout {
    if configured_cores >= 3 && available().len() >= CORES_FOR_STAGED {
        Layout::Staged
    } else {
        Layout::Fused
    }
}

/// The idle strategy for a layout on this host where none is configured.
#[must_use]
pub fn auto_idle(layout: Layout, configured_cores: usize) -> Idle {
    if layout == Layout::Staged && configured_cores >= 3 && available().len() >= CORES_FOR_STAGED {
        Idle::Spin
    } else {
        Idle::Yield
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_on_its_core_and_the_thread_is_free_again() {
        // Affinity is the thread's: other tests have their own.
        let before = available();
        let core = *before.last().expect("there is a core");
        assert_eq!(on_core(Some(core), available), [core]);
        assert_eq!(available(), before);
        assert_eq!(on_core(None, available), before);
        assert_eq!(on_core(Some(1_023), available), before, "there is none such");
        assert_eq!(available(), before);
    }
}
