//! Huge pages for what this process alone has in memory: books, samples, queues.
//!
//! A symbol's state lies in a few megabytes that a message touches here and there. In pages of 4 KiB each first touch is a
//! fault, of up to 30 µs on a virtual machine, and most later ones miss the TLB. Guarantees: changes no byte; where the
//! system has no huge pages, or gives none, nothing happens.
#![allow(unsafe_code, reason = "madvise takes an address")]

use std::ops::Range;

/// Of x86-64, and of 64-bit Arm with pages of 4 KiB.
const HUGE_PAGE_SIZE_BYTES: usize = 2 << 20;

/// Asks the system to keep all large areas of this process's own memory in huge pages: those that are in use are moved
/// into such now, what comes into use later begins there. To be called once state is made and before the first message,
/// since moving takes some 0.2 ms for each page; and by a program whose memory is the engine's, as nobody else's is to
/// be moved. Tells how many bytes were asked for; none where the system does not list its areas.
pub fn prefer_huge_pages() -> usize {
    each_large_area(|_, whole, _| move_to_huge_pages(whole))
}

/// The same for a run that is to find its memory there: what lies in these areas before their first whole huge page and
/// behind their last one, and so cannot be in one, is touched besides. Less than 4 MiB for each.
pub fn warm() -> usize {
    each_large_area(|before, whole, behind| {
        move_to_huge_pages(whole);
        for edge in [before, behind] {
            advise(edge, libc::MADV_POPULATE_WRITE);
        }
    })
}

fn move_to_huge_pages(whole: Range<usize>) {
    // Refused where the kernel has no huge pages, and the second for pages that nobody has touched.
    advise(whole.clone(), libc::MADV_HUGEPAGE);
    for page in whole.step_by(HUGE_PAGE_SIZE_BYTES) {
        advise(page..page + HUGE_PAGE_SIZE_BYTES, libc::MADV_COLLAPSE);
    }
}

/// Goes through the areas that hold a huge page, with what lies before, within and behind its whole huge pages; the sum of
/// these.
fn each_large_area(mut visit: impl FnMut(Range<usize>, Range<usize>, Range<usize>)) -> usize {
    let areas = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut sum = 0;
    for (from, to) in areas.lines().filter_map(own_area) {
        let first = from.next_multiple_of(HUGE_PAGE_SIZE_BYTES);
        let last = to - to % HUGE_PAGE_SIZE_BYTES;
        if first < last {
            sum += last - first;
            visit(from..first, first..last, last..to);
        }
    }
    sum
}

fn advise(Range { start, end }: Range<usize>, advice: libc::c_int) {
    let address = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the advices used here leave every byte as it is; what is mapped there by now, or no longer, is the kernel's
    // to check. So is whether it does as it is asked: nothing hangs on that.
    let _ = unsafe { libc::madvise(address, end - start, advice) };
}

/// Where an area begins and ends that is written, private and of no file, but for the first thread's stack. A line is
/// `from-to rwxp offset device inode name` (proc_pid_maps(5)).
fn own_area(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let (permissions, _offset, _device) = (fields.next()?, fields.next()?, fields.next()?);
    let (inode, name) = (fields.next()?, fields.next());
    let is_own = permissions == "rw-p" && inode == "0" && matches!(name, None | Some("[heap]"));
    let address = |hex| usize::from_str_radix(hex, 16).ok();
    is_own.then_some((address(from)?, address(to)?))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn areas_of_others_are_left_alone() {
        for (line, area) in [
            (
                "7f10a0000000-7f10a0400000 rw-p 00000000 00:00 0 ",
                Some((0x7f10_a000_0000, 0x7f10_a040_0000)),
            ),
            (
                "55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0        [heap]",
                Some((0x55d0_c000_0000, 0x55d0_c002_1000)),
            ),
            ("7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0        [stack]", None),
            ("7f10a0000000-7f10a0400000 r--p 00000000 00:00 0 ", None),
            ("7f10a0000000-7f10a0400000 rw-s 00000000 00:1a 17       /dev/shm/cobring/X", None),
            ("7f10a0000000-7f10a0400000 rw-p 00000000 08:01 17       /lib/libc.so.6", None),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(own_area(line), area, "{line}");
        }
    }

    #[test]
    fn memory_in_use_is_moved_and_keeps_its_bytes() {
        let mut held: Vec<Vec<u64>> = (0..16).map(|at| vec![at; 1 << 17]).collect();
        let before = huge_kib();
        // Reserved, so that pages are missing at its edges.
        let mut reserved: Vec<u8> = Vec::with_capacity(5 << 20);
        let resident = resident_kib();
        let asked = warm();
        // More than the whole pages of what was there already.
        assert!(resident_kib() > resident, "nothing was touched");
        reserved.push(1);
        assert!(asked >= 8 * HUGE_PAGE_SIZE_BYTES, "{asked}");
        for (at, words) in held.iter().enumerate() {
            assert!(words.iter().all(|&word| word == at as u64), "{at}");
        }
        let after = huge_kib();
        if after <= before {
            // Refused for want of huge pages: nothing that a test can change.
            let said = writeln!(std::io::stderr(), "no huge pages: {before} kB, then {after}");
            said.unwrap();
        }
        held.clear();
    }

    fn huge_kib() -> usize {
        of_all_areas("AnonHugePages")
    }

    fn resident_kib() -> usize {
        of_all_areas("Rss")
    }

    fn of_all_areas(name: &str) -> usize {
        let sizes = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
        let line = sizes.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    }
}
