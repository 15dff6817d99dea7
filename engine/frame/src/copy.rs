//! Copies between shared and private words. Guarantees: the compiler neither splits, merges, repeats nor
//! drops what is copied, and all bodies copy the same. Needs: both sides readable and writable for `count`
//! words, and a sequence check by the caller: a copy that a writer crossed is torn, and says nothing of it.
//! Does not: use `ptr::copy`, which the compiler may assume to be free of races.
#![allow(unsafe_code, reason = "vector moves and atomics over raw words")]

use std::sync::atomic::{AtomicU64, Ordering};

/// Words of a cache line.
const LINE_WORDS: usize = 8;

/// The way to copy, chosen once for a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// Relaxed u64 words: every machine, and what the others are tested against.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    Words,
    /// 16 bytes a move.
    #[cfg(target_arch = "x86_64")]
    Sse2,
    /// 32 bytes a move.
    #[cfg(target_arch = "x86_64")]
    Avx,
}

impl Body {
    /// The widest that this processor and system have.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        return if std::arch::is_x86_feature_detected!("avx") { Self::Avx } else { Self::Sse2 };
        #[cfg(not(target_arch = "x86_64"))]
        Self::Words
    }

    /// Copies `count` words.
    ///
    /// # Safety
    /// `source` is readable and `target` writable for `count` words, both are aligned to 8 bytes and do not
    /// overlap, and the processor has the body ([`Body::detect`]). Another process may be writing the one
    /// or reading the other.
    #[inline]
    pub(crate) unsafe fn copy(self, source: *const u64, target: *mut u64, count: usize) {
        match self {
            // SAFETY: the caller's, handed on.
            #[cfg(any(test, not(target_arch = "x86_64")))]
            Self::Words => unsafe { words(source, target, count) },
            // SAFETY: the caller's, handed on; every x86-64 has SSE2.
            #[cfg(target_arch = "x86_64")]
            Self::Sse2 => unsafe { x86_64::sse2(source, target, count) },
            // SAFETY: the caller's, handed on; `detect` saw AVX.
            #[cfg(target_arch = "x86_64")]
            Self::Avx => unsafe { x86_64::avx(source, target, count) },
        }
    }
}

/// Has the line of a place fetched, which is about to be written; nothing waits for it.
#[inline(always)]
pub fn prefetch_for_write<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch changes nothing that the program sees and cannot fault.
    unsafe {
        std::arch::asm!(
            "prefetchw [{at}]",
            at = in(reg) place,
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Has the lines of `count` words fetched, to be written soon.
///
/// # Safety
/// The words are inside a mapping.
#[inline]
pub(crate) unsafe fn prefetch(words: *const u64, count: usize) {
    /// A round of the loop.
    const ROUND_LINES: usize = 4;
    #[cfg(target_arch = "x86_64")]
    {
        let mut at = words;
        for _ in 0..count.div_ceil(LINE_WORDS * ROUND_LINES) {
            // SAFETY: a prefetch changes nothing that the program sees and cannot fault, be it beyond the words; where
            // the processor has none for writing, it does nothing.
            unsafe {
                std::arch::asm!(
                    "prefetchw [{at}]",
                    "prefetchw [{at} + 64]",
                    "prefetchw [{at} + 128]",
                    "prefetchw [{at} + 192]",
                    at = in(reg) at,
                    options(nostack, preserves_flags, readonly)
                );
            }
            at = at.wrapping_add(LINE_WORDS * ROUND_LINES);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (words, count, ROUND_LINES);
}

/// Has the lines of `count` words fetched, to be read soon.
///
/// # Safety
/// The words are inside a mapping.
#[inline]
pub(crate) unsafe fn prefetch_for_read(words: *const u64, count: usize) {
    for line in 0..count.div_ceil(LINE_WORDS) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch changes nothing that the program sees and cannot fault. In assembly, so that it stays in a loop
        // that polls: the compiler may think that nothing has changed since the last one.
        unsafe {
            std::arch::asm!(
                "prefetcht0 [{at}]",
                at = in(reg) words.wrapping_add(LINE_WORDS * line),
                options(nostack, preserves_flags, readonly)
            );
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (words, line);
    }
}

/// # Safety
/// As [`Body::copy`].
#[inline]
unsafe fn words(source: *const u64, target: *mut u64, count: usize) {
    for index in 0..count {
        // SAFETY: within `count` words of both, aligned. A private side as an atomic is merely a plain
        // access; the shared side is one to every process, and on a read-only mapping this is the Relaxed
        // load that the language allows there.
        unsafe {
            let word = (*source.add(index).cast::<AtomicU64>()).load(Ordering::Relaxed);
            (*target.add(index).cast::<AtomicU64>()).store(word, Ordering::Relaxed);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;

    /// 16 words a round.
    const ROUND_WORDS: usize = 16;

    /// # Safety
    /// As [`super::Body::copy`].
    #[inline]
    pub(super) unsafe fn sse2(mut source: *const u64, mut target: *mut u64, count: usize) {
        let rounds = count / ROUND_WORDS;
        if rounds > 0 {
            // SAFETY: reads and writes `rounds * 128 <= count * 8` bytes of each side, unaligned moves. No
            // `nomem`: the compiler keeps it between the fences of the caller.
            unsafe {
                asm!(
                    "2:",
                    "movdqu {a}, xmmword ptr [{s}]",
                    "movdqu {b}, xmmword ptr [{s} + 16]",
                    "movdqu {c}, xmmword ptr [{s} + 32]",
                    "movdqu {d}, xmmword ptr [{s} + 48]",
                    "movdqu xmmword ptr [{t}], {a}",
                    "movdqu xmmword ptr [{t} + 16], {b}",
                    "movdqu xmmword ptr [{t} + 32], {c}",
                    "movdqu xmmword ptr [{t} + 48], {d}",
                    "movdqu {a}, xmmword ptr [{s} + 64]",
                    "movdqu {b}, xmmword ptr [{s} + 80]",
                    "movdqu {c}, xmmword ptr [{s} + 96]",
                    "movdqu {d}, xmmword ptr [{s} + 112]",
                    "movdqu xmmword ptr [{t} + 64], {a}",
                    "movdqu xmmword ptr [{t} + 80], {b}",
                    "movdqu xmmword ptr [{t} + 96], {c}",
                    "movdqu xmmword ptr [{t} + 112], {d}",
                    "add {s}, 128",
                    "add {t}, 128",
                    "dec {rounds}",
                    "jnz 2b",
                    s = inout(reg) source,
                    t = inout(reg) target,
                    rounds = inout(reg) rounds => _,
                    a = out(xmm_reg) _,
                    b = out(xmm_reg) _,
                    c = out(xmm_reg) _,
                    d = out(xmm_reg) _,
                    options(nostack),
                );
            }
        }
        // SAFETY: what is left of the caller's `count`.
        unsafe { super::words(source, target, count % ROUND_WORDS) }
    }

    /// # Safety
    /// As [`super::Body::copy`]; the processor has AVX.
    #[inline]
    pub(super) unsafe fn avx(mut source: *const u64, mut target: *mut u64, count: usize) {
        let rounds = count / ROUND_WORDS;
        if rounds > 0 {
            // SAFETY: as in `sse2`. `vzeroupper` ends the use of the upper halves; all sixteen registers
            // are named as clobbered, so the compiler keeps nothing in any half of them.
            unsafe {
                asm!(
                    "2:",
                    "vmovdqu ymm0, ymmword ptr [{s}]",
                    "vmovdqu ymm1, ymmword ptr [{s} + 32]",
                    "vmovdqu ymm2, ymmword ptr [{s} + 64]",
                    "vmovdqu ymm3, ymmword ptr [{s} + 96]",
                    "vmovdqu ymmword ptr [{t}], ymm0",
                    "vmovdqu ymmword ptr [{t} + 32], ymm1",
                    "vmovdqu ymmword ptr [{t} + 64], ymm2",
                    "vmovdqu ymmword ptr [{t} + 96], ymm3",
                    "add {s}, 128",
                    "add {t}, 128",
                    "dec {rounds}",
                    "jnz 2b",
                    "vzeroupper",
                    s = inout(reg) source,
                    t = inout(reg) target,
                    rounds = inout(reg) rounds => _,
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                    out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                    out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                    out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                    options(nostack),
                );
            }
        }
        // SAFETY: what is left of the caller's `count`.
        unsafe { super::words(source, target, count % ROUND_WORDS) }
    }
}

#[cfg(test)]
mod tests {
    use super::Body;

    /// Every body this machine has, every length up to three rounds, every alignment of 8 bytes in a line.
    #[test]
    fn all_bodies_copy_the_same_words_and_none_beside_them() {
        let bodies = [
            Body::Words,
            Body::detect(),
            #[cfg(target_arch = "x86_64")]
            Body::Sse2,
        ];
        let source: Vec<u64> =
            (1..=64).map(|word: u64| word.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        for body in bodies {
            for count in 0..=48 {
                for offset in 0..8 {
                    let mut target = vec![7u64; 64];
                    // SAFETY: offset + count <= 56 words of either, which are distinct vectors.
                    unsafe {
                        body.copy(
                            source.as_ptr().add(offset),
                            target.as_mut_ptr().add(offset),
                            count,
                        );
                    }
                    let inside = offset..offset + count;
                    assert_eq!(
                        target[inside.clone()],
                        source[inside.clone()],
                        "{body:?} {count} {offset}"
                    );
                    assert!(
                        target
                            .iter()
                            .enumerate()
                            .all(|(at, &word)| inside.contains(&at) || word == 7),
                        "{body:?} wrote beside {inside:?}"
                    );
                }
            }
        }
    }
}
