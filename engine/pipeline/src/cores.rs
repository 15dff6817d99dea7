//! Cores: pinning, and the layout that a host can carry.

use crate::idle::Idle;
use crate::stages::Layout;

/// Cores that the staged layout needs: ingest, parse, aggregate, and one for everything else.
const CORES_FOR_STAGED: usize = 4;

/// Pins the calling thread; a core that does not exist leaves it unpinned (the configuration is checked
/// before, so that happens only when the host changes underneath).
pub fn pin(core: Option<usize>) -> bool {
    core.is_some_and(|id| core_affinity::set_for_current(core_affinity::CoreId { id }))
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
