//! What the kernel tells about the host, by its files.

use std::fs;
use std::path::PathBuf;

/// The files of a host; those of a test lie in a directory of their own.
#[derive(Debug, Clone)]
pub(super) struct Host {
    root: PathBuf,
}

impl Host {
    /// This one.
    pub(super) fn this() -> Self {
        Self { root: PathBuf::from("/") }
    }

    #[cfg(test)]
    pub(super) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A file's text without white space around it; `None` where it is not there or not to be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned())
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Names in a directory, in order; none where it is not there.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A list like `0-3,8`.
    pub(super) fn cores(&self, path: &str) -> Option<Vec<usize>> {
        Some(parse_cores(&self.text(path)?))
    }

    /// All cores that are there.
    pub(super) fn online(&self) -> Vec<usize> {
        self.cores("/sys/devices/system/cpu/online").unwrap_or_default()
    }
}

/// The numbers of a list like `0-3,8`; what is no number is passed over.
pub(super) fn parse_cores(list: &str) -> Vec<usize> {
    let ranges = list.split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?)
    });
    ranges.flatten().collect()
}

/// The other way round.
pub(super) fn show_cores(cores: &[usize]) -> String {
    if cores.is_empty() {
        return "none".to_owned();
    }
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &core in cores {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => parts.push((core, core)),
        }
    }
    let parts = parts.into_iter().map(|(first, last)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    });
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read_and_written() {
        for (text, cores) in [("0-3,8", vec![0, 1, 2, 3, 8]), ("5", vec![5]), ("", vec![])] {
            assert_eq!(parse_cores(text), cores);
            assert_eq!(show_cores(&cores), if text.is_empty() { "none" } else { text });
        }
        assert_eq!(parse_cores("1,x,3-"), [1]);
    }
}
