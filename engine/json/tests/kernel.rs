//! Which kernel is taken on this processor, by what the system says of it.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "test code")]

use cobring_json::scan::Kernel;

/// The first value of a key in /proc/cpuinfo; none where an emulator shows others.
fn cpu_info(key: &str) -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let values = info.lines().filter_map(|line| line.split_once(':'));
    let mut of_key = values.filter(|(name, _)| name.trim() == key);
    of_key.next().map(|(_, value)| value.trim().to_owned())
}

#[test]
fn the_widest_kernel_is_taken() {
    let Some(flags) = cpu_info("flags") else {
        return eprintln!("skipped: /proc/cpuinfo does not tell what this processor has");
    };
    let has = |wanted: &[&str]| wanted.iter().all(|flag| flags.split(' ').any(|has| has == *flag));
    let has_avx2 = has(&["avx2", "bmi1", "bmi2", "abm", "popcnt"]);
    let has_avx512 =
        has(&["avx512f", "avx512bw", "avx512vl", "avx512vbmi", "avx512_vbmi2"]) && has_avx2;
    let wanted = match (has_avx512, has_avx2) {
        (true, _) => Kernel::Avx512,
        (_, true) => Kernel::Avx2,
        _ => Kernel::Portable,
    };
    assert_eq!(Kernel::best(), wanted);
    assert_eq!(Kernel::Avx512.is_supported(), has_avx512);
    assert_eq!(Kernel::Avx2.is_supported(), has_avx2);
}
