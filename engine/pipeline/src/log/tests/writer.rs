use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

/// A clock that stands until a test moves it.
#[derive(Debug, Clone, Default)]
struct TestClock(Arc<AtomicI64>);

impl TestClock {
    fn read(&self) -> impl FnMut() -> Nanos + Send + 'static {
        let time = Arc::clone(&self.0);
        move || Nanos(time.load(SeqCst))
    }

    fn advance(&self, by: Nanos) {
        self.0.fetch_add(by.0, SeqCst);
    }
}

/// The file system with a switch for its faults.
#[derive(Debug, Clone, Default)]
struct TestDisk(Arc<Faults>);

#[derive(Debug, Default)]
struct Faults {
    full: AtomicBool,
    stuck: AtomicBool,
    syncs: AtomicU64,
}

impl Faults {
    fn check(&self) -> io::Result<()> {
        if self.full.load(SeqCst) { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
    }
}

impl Disk for TestDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = RealDisk.create(path)?;
        let is_log = path.to_string_lossy().ends_with(".cblog.tmp");
        Ok(Box::new(TestFile { faults: Arc::clone(&self.0), file, is_log }))
    }

    fn publish(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        RealDisk.publish(temporary, path)
    }

    fn replace(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        RealDisk.replace(temporary, path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
}

#[derive(Debug)]
struct TestFile {
    faults: Arc<Faults>,
    file: Box<dyn DiskFile>,
    /// And not one of the keeper's.
    is_log: bool,
}

impl DiskFile for TestFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.faults.check() {
            // As a disk that fills up: some of it is written.
            self.file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.file.write_all(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        while self.faults.stuck.load(SeqCst) {
            thread::park_timeout(Duration::from_millis(1));
        }
        self.faults.check()?;
        self.faults.syncs.fetch_add(u64::from(self.is_log), SeqCst);
        self.file.sync_data()
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}

struct Rig {
    dir: TempDir,
    clock: TestClock,
    disk: TestDisk,
    writer: LogWriter,
    producer: LogProducer,
    sender: CheckpointSender,
}

impl Rig {
    fn new(ring_capacity_bytes: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let (clock, disk) = (TestClock::default(), TestDisk::default());
        let config =
            LogConfig { ring_capacity_bytes, rotate_bytes: 4_000, ..LogConfig::new(dir.path()) };
        let (writer, producer, sender) = LogWriter::start_on(
            Box::new(disk.clone()),
            config,
            header(0),
            &LogStart::Initial,
            clock.read(),
        )
        .unwrap();
        Self { dir, clock, disk, writer, producer, sender }
    }

    fn log(&mut self, input: &Owned) -> bool {
        self.producer.try_log(&input.as_input())
    }

    fn log_all(&mut self, inputs: &[Owned]) {
        for input in inputs {
            wait_until(|| self.producer.flush_pending() && self.producer.room().0 > 1 << 14);
            assert!(self.log(input));
        }
        wait_until(|| self.producer.flush_pending());
    }

    /// Waits until the helper has looked at all that was logged.
    fn settle(&self) {
        wait_until(|| {
            let (free, all) = self.producer.room();
            free == all
        });
    }

    fn paths(&self) -> Vec<PathBuf> {
        log_files(self.dir.path()).unwrap()
    }
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    panic!("not within 10 s");
}

fn texts(range: std::ops::Range<u64>) -> Vec<Owned> {
    range.map(Owned::text).collect()
}

#[test]
fn what_is_logged_is_in_the_file_after_finish() {
    let mut rig = Rig::new(1 << 16);
    let mut inputs = texts(0..5_000);
    inputs[77].bytes = vec![7; 3 << 20];
    inputs.push(Owned::new(5_000, InputKind::Stop, b""));
    rig.log_all(&inputs);
    let paths = rig.paths();
    let report = rig.writer.finish();
    assert!(report.complete, "{report:?}");
    assert_eq!(report.stats.inputs_written, 5_001);
    assert_eq!(report.stats.status, LogStatus::Stopped);
    assert_eq!((report.stats.lost_ring, report.stats.lost_disk), (0, 0));
    assert_eq!(read_whole(&paths), inputs);
}

#[test]
fn inputs_reach_the_system_in_50_ms_and_the_disk_in_a_second() {
    let mut rig = Rig::new(1 << 16);
    let synced = rig.disk.0.syncs.load(SeqCst);
    rig.log_all(&texts(0..10));
    rig.settle();
    assert_eq!(rig.writer.stats().inputs_written, 0);
    rig.clock.advance(Nanos(50_000_000));
    wait_until(|| rig.writer.stats().inputs_written == 10);
    assert_eq!(read_whole(&rig.paths()), texts(0..10));
    assert_eq!(rig.disk.0.syncs.load(SeqCst), synced);
    rig.clock.advance(Nanos(950_000_000));
    wait_until(|| rig.disk.0.syncs.load(SeqCst) == synced + 1);
    rig.clock.advance(Nanos(5_000_000_000));
    rig.log_all(&texts(10..11));
    wait_until(|| rig.writer.stats().syncs == 2);
    assert_eq!(rig.disk.0.syncs.load(SeqCst), synced + 2);
}

#[test]
fn a_full_ring_loses_inputs_and_says_how_many() {
    let mut rig = Rig::new(1 << 16);
    rig.disk.0.stuck.store(true, SeqCst);
    rig.log_all(&texts(0..1));
    rig.clock.advance(Nanos::SECOND);
    rig.settle();
    // The helper hangs in a sync now, or will before it takes much more.
    let mut inputs = texts(0..1);
    let mut next = 1;
    while rig.producer.stats().lost_ring < 100 {
        let input = Owned::text(next);
        if rig.log(&input) {
            assert_eq!(
                rig.producer.stats().lost_ring,
                0,
                "nothing follows a loss, small as it may be"
            );
            inputs.push(input);
        }
        next += 1;
        if next % 500 == 0 {
            rig.clock.advance(Nanos::SECOND);
        }
    }
    assert_eq!(rig.producer.lost_due(Nanos(0)), None, "there is no room yet");
    let later = Nanos(i64::MAX);
    assert!(!rig.producer.wants_checkpoint(later), "none would be in the log");
    rig.disk.0.stuck.store(false, SeqCst);
    wait_until(|| rig.producer.lost_due(Nanos(0)).is_some());
    assert_eq!(rig.producer.lost_due(Nanos(0)), Some(100));
    let lost = Owned::lost(next, 100);
    assert!(rig.log(&lost));
    assert_eq!(rig.producer.lost_due(Nanos(0)), None, "it is told");
    inputs.push(lost);
    rig.settle();
    wait_until(|| rig.producer.wants_checkpoint(Nanos(0)));
    assert!(rig.writer.finish().complete);
    let mut reader = LogReader::open(&log_files(rig.dir.path()).unwrap()).unwrap();
    assert_eq!(read_all(&mut reader).0, inputs);
    assert_eq!(reader.lost(), 100);
}

#[test]
fn a_checkpoint_begins_the_next_file() {
    let mut rig = Rig::new(1 << 16);
    let mut inputs = texts(0..100);
    inputs.push(Owned::new(100, InputKind::Checkpoint, b""));
    inputs.extend(texts(101..150));
    inputs.push(Owned::new(150, InputKind::Checkpoint, b""));
    inputs.extend(texts(151..160));
    assert!(!rig.producer.wants_checkpoint(Nanos(0)));
    rig.log_all(&inputs[..100]);
    wait_until(|| rig.producer.wants_checkpoint(Nanos(0)));
    rig.log_all(&inputs[100..101]);
    assert!(!rig.producer.wants_checkpoint(Nanos(0)), "one is under way");
    rig.log_all(&inputs[101..150]);
    rig.clock.advance(Nanos(4_900_000_000));
    thread::park_timeout(Duration::from_millis(20));
    assert_eq!(rig.writer.stats().files, 1, "what follows waits for it");
    assert!(rig.sender.send(checkpoint(100)));
    wait_until(|| rig.writer.stats().files == 2);
    // This one arrives before its input does.
    assert!(rig.sender.send(checkpoint(150)));
    rig.log_all(&inputs[150..]);
    wait_until(|| rig.writer.stats().files == 3);
    let stats = rig.writer.finish().stats;
    assert_eq!(
        (stats.checkpoints_missing, stats.checkpoints_dropped, stats.inputs_written),
        (0, 0, 160)
    );
    let paths = log_files(rig.dir.path()).unwrap();
    assert_eq!(read_whole(&paths), inputs);
    for (path, first, after) in
        [(&paths[0], 0, None), (&paths[1], 101, Some(100)), (&paths[2], 151, Some(150))]
    {
        let mut reader = LogReader::open(&[path]).unwrap();
        assert_eq!(reader.header().first_input_seq, first);
        assert_eq!(
            reader.start(),
            &after.map_or(LogStart::Initial, |seq| LogStart::Taken(checkpoint(seq)))
        );
        assert_eq!(reader.next().unwrap().unwrap().stamp.input_seq, first);
    }
}

#[test]
fn a_checkpoint_larger_than_a_file_asks_for_no_other() {
    let mut rig = Rig::new(1 << 16);
    rig.log_all(&[Owned::new(0, InputKind::Checkpoint, b"")]);
    // Does not compress: each byte from the others by a generator of Lehmer's.
    let mut state = 1_u64;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(0xda94_2042_e4dd_58b5);
        state.to_be_bytes()[0]
    });
    let large = Checkpoint { state: bytes.take(40_000).collect(), ..checkpoint(0) };
    assert!(rig.sender.send(large));
    wait_until(|| rig.writer.stats().files == 2);
    assert!(rig.writer.stats().file_bytes > 40_000);
    rig.log_all(&texts(1..10));
    rig.settle();
    rig.clock.advance(Nanos::SECOND);
    wait_until(|| rig.writer.stats().inputs_written == 10);
    assert!(!rig.producer.wants_checkpoint(Nanos(0)));
    rig.log_all(&texts(10..100));
    wait_until(|| rig.producer.wants_checkpoint(Nanos(0)));
    assert!(rig.writer.finish().complete);
}

#[test]
fn a_checkpoint_that_never_comes_is_waited_for_5_s() {
    let mut rig = Rig::new(1 << 16);
    let inputs = [Owned::text(0), Owned::new(1, InputKind::Checkpoint, b""), Owned::text(2)];
    rig.log_all(&inputs);
    // Of another input: never taken for this one.
    assert!(rig.sender.send(checkpoint(0)));
    thread::park_timeout(Duration::from_millis(20));
    assert_eq!(rig.writer.stats().files, 1);
    rig.clock.advance(Nanos(5_000_000_000));
    wait_until(|| rig.writer.stats().files == 2);
    let stats = rig.writer.finish().stats;
    assert_eq!((stats.checkpoints_missing, stats.lost_disk), (1, 0));
    let paths = log_files(rig.dir.path()).unwrap();
    assert_eq!(read_whole(&paths), inputs);
    assert_eq!(LogReader::open(&paths[1..]).unwrap().start(), &LogStart::Missing);
}

#[test]
fn for_a_checkpoint_that_is_left_out_another_is_asked_for_a_second_later() {
    let mut rig = Rig::new(1 << 16);
    let inputs = [Owned::text(0), Owned::new(1, InputKind::Checkpoint, b""), Owned::text(2)];
    rig.log_all(&inputs);
    // What became of another one is not this one's.
    rig.sender.leave_out(0);
    rig.clock.advance(Nanos(100_000_000));
    wait_until(|| rig.writer.stats().inputs_written == 2);
    thread::park_timeout(Duration::from_millis(20));
    assert_eq!(rig.writer.stats().inputs_written, 2, "what follows waits for it");
    rig.sender.leave_out(1);
    wait_until(|| {
        rig.clock.advance(Nanos(10_000_000));
        rig.writer.stats().inputs_written == 3
    });
    assert!(!rig.producer.wants_checkpoint(Nanos(0)));
    wait_until(|| {
        rig.clock.advance(Nanos(10_000_000));
        rig.producer.wants_checkpoint(Nanos(0))
    });
    assert!(rig.clock.0.load(SeqCst) >= 1_100_000_000);
    rig.log_all(&[Owned::new(3, InputKind::Checkpoint, b"")]);
    assert!(!rig.producer.wants_checkpoint(Nanos(0)), "one is under way");
    assert!(rig.sender.send(checkpoint(3)));
    wait_until(|| rig.writer.stats().files == 2);
    let stats = rig.writer.finish().stats;
    assert_eq!((stats.checkpoints_missing, stats.checkpoints_dropped), (0, 2));
    let paths = log_files(rig.dir.path()).unwrap();
    assert_eq!(read_whole(&paths).len(), 4);
    assert_eq!(LogReader::open(&paths[1..]).unwrap().start(), &LogStart::Taken(checkpoint(3)));
}

#[test]
fn a_third_checkpoint_that_is_left_out_begins_a_file_without() {
    let mut rig = Rig::new(1 << 16);
    let leave_out = |rig: &mut Rig, input_seq| {
        rig.log_all(&[Owned::new(input_seq, InputKind::Checkpoint, b"")]);
        rig.sender.leave_out(input_seq);
    };
    let wait_until_asked = |rig: &Rig| {
        wait_until(|| {
            rig.clock.advance(Nanos(10_000_000));
            rig.producer.wants_checkpoint(Nanos(0))
        });
    };
    for input_seq in 0..2 {
        leave_out(&mut rig, input_seq);
        wait_until_asked(&rig);
        assert_eq!(rig.writer.stats().files, 1);
    }
    leave_out(&mut rig, 2);
    wait_until(|| rig.writer.stats().files == 2);
    // The next one is asked for when that file is large or old enough.
    rig.clock.advance(Nanos(10_000_000_000));
    thread::park_timeout(Duration::from_millis(20));
    assert!(!rig.producer.wants_checkpoint(Nanos(0)));
    // Of which the first ones may be left out again.
    leave_out(&mut rig, 3);
    wait_until_asked(&rig);
    assert_eq!(rig.writer.stats().files, 2);
    let stats = rig.writer.finish().stats;
    assert_eq!((stats.checkpoints_missing, stats.checkpoints_dropped), (1, 4));
    let paths = log_files(rig.dir.path()).unwrap();
    assert_eq!(read_whole(&paths).len(), 4);
    assert_eq!(LogReader::open(&paths[1..]).unwrap().start(), &LogStart::Missing);
}

#[test]
fn a_log_that_ends_without_its_checkpoint_ends_in_the_same_file() {
    let mut rig = Rig::new(1 << 16);
    let inputs = [Owned::text(0), Owned::new(1, InputKind::Checkpoint, b""), Owned::text(2)];
    rig.log_all(&inputs);
    let (clock, is_finished) = (rig.clock.clone(), Arc::new(AtomicBool::new(false)));
    let is_over = Arc::clone(&is_finished);
    let time = thread::spawn(move || {
        while !is_over.load(SeqCst) {
            thread::park_timeout(Duration::from_millis(2));
            clock.advance(Nanos(2_000_000));
        }
    });
    let report = rig.writer.finish();
    is_finished.store(true, SeqCst);
    time.join().unwrap();
    assert!(report.complete);
    assert_eq!((report.stats.checkpoints_missing, report.stats.files), (0, 1));
    let paths = log_files(rig.dir.path()).unwrap();
    assert_eq!(paths.len(), 1);
    assert_eq!(read_whole(&paths), inputs);
}

#[test]
fn too_many_checkpoints_are_counted() {
    let rig = Rig::new(1 << 16);
    for input_seq in 0..20 {
        rig.sender.send(checkpoint(input_seq));
    }
    let sender = rig.sender.clone();
    assert!(rig.writer.finish().complete);
    assert!(!sender.send(checkpoint(20)));
    assert!(rig.producer.stats().checkpoints_dropped >= 12);
}

#[test]
fn a_full_disk_is_counted_and_the_log_goes_on_when_it_is_not() {
    let mut rig = Rig::new(1 << 16);
    rig.log_all(&texts(0..10));
    rig.clock.advance(Nanos::SECOND);
    wait_until(|| rig.writer.stats().inputs_written == 10);
    rig.disk.0.full.store(true, SeqCst);
    rig.log_all(&texts(10..20));
    rig.clock.advance(Nanos::SECOND);
    wait_until(|| rig.writer.stats().lost_disk == 10);
    assert_eq!(rig.writer.stats().status, LogStatus::Failing { os_error: 28 });
    rig.log_all(&texts(20..25));
    wait_until(|| rig.writer.stats().lost_disk == 15);
    assert!(!rig.producer.wants_checkpoint(Nanos(0)));

    // The first LogLost finds it full still, the next one is due a second later and tells of all.
    let due = rig.producer.lost_due(Nanos(1_000));
    assert_eq!(due, Some(15));
    let first = Owned::lost(25, 15);
    let first_at = first.stamp.ts_recv;
    rig.log_all(&[first]);
    wait_until(|| rig.writer.stats().lost_disk == 16);
    assert_eq!(rig.producer.lost_due(Nanos(first_at.0 + 999_999_999)), None);
    assert_eq!(rig.producer.lost_due(Nanos(first_at.0 + 1_000_000_000)), Some(16));
    rig.disk.0.full.store(false, SeqCst);
    let lost = Owned::lost(26, 16);
    let after = texts(27..40);
    rig.log_all(std::slice::from_ref(&lost));
    rig.log_all(&after);
    wait_until(|| rig.producer.wants_checkpoint(Nanos(0)));
    assert_eq!(rig.writer.stats().status, LogStatus::Writing);
    assert_eq!(rig.producer.lost_due(Nanos(i64::MAX)), None);
    let report = rig.writer.finish();
    assert!(!report.complete);
    assert_eq!((report.stats.lost_disk, report.stats.files), (16, 2));
    assert_eq!(report.stats.inputs_written, 10 + 1 + 13);
    assert!(report.stats.errors >= 2);

    let paths = log_files(rig.dir.path()).unwrap();
    let mut reader = LogReader::open(&paths).unwrap();
    let wanted = [texts(0..10), vec![lost], after].concat();
    assert_eq!(read_all(&mut reader).0, wanted);
    assert_eq!(reader.lost(), 16);
    assert_eq!(reader.torn(), [], "what was written of a record is cut off again");
    let left = names_in(rig.dir.path());
    assert!(left.iter().all(|name| !name.ends_with(".tmp")), "no temporary file is left: {left:?}");
}

#[test]
fn a_rotation_onto_a_full_disk_loses_nothing_that_was_written() {
    let mut rig = Rig::new(1 << 16);
    let inputs = [Owned::text(0), Owned::new(1, InputKind::Checkpoint, b"")];
    rig.log_all(&inputs);
    rig.settle();
    rig.clock.advance(Nanos(60_000_000));
    wait_until(|| rig.writer.stats().inputs_written == 2);
    rig.disk.0.full.store(true, SeqCst);
    assert!(rig.sender.send(checkpoint(1)));
    rig.log_all(&texts(2..3));
    wait_until(|| rig.writer.stats().lost_disk == 1);
    rig.disk.0.full.store(false, SeqCst);
    rig.log_all(&[Owned::lost(3, 1)]);
    wait_until(|| rig.writer.stats().files == 2);
    assert!(!rig.writer.finish().complete);
    let mut reader = LogReader::open(&log_files(rig.dir.path()).unwrap()).unwrap();
    assert_eq!(read_all(&mut reader).0, [&inputs[..], &[Owned::lost(3, 1)]].concat());
}

#[test]
fn a_disk_that_hangs_is_left_behind_after_a_second() {
    let mut rig = Rig::new(1 << 16);
    rig.disk.0.stuck.store(true, SeqCst);
    rig.log_all(&texts(0..3));
    let report = rig.writer.finish();
    assert!(!report.complete);
    rig.disk.0.stuck.store(false, SeqCst);
}

#[test]
fn the_feeder_going_ends_the_helper() {
    let Rig { dir, writer, mut producer, .. } = Rig::new(1 << 16);
    for input in texts(0..5) {
        assert!(producer.try_log(&input.as_input()));
    }
    drop(producer);
    wait_until(|| writer.stats().status == LogStatus::Stopped);
    assert_eq!(read_whole(&log_files(dir.path()).unwrap()), texts(0..5));
    assert!(writer.finish().complete);
}

#[test]
fn a_directory_that_cannot_be_written_is_told_at_once() {
    let dir = TempDir::new().unwrap();
    let blocked = dir.path().join("file");
    fs::write(&blocked, "").unwrap();
    let config = LogConfig::new(blocked.join("logs"));
    let error = LogWriter::start(config, header(0), &LogStart::Initial, || Nanos(0)).unwrap_err();
    let wanted = format!("{}/logs: cannot make the log's directory: ", blocked.display());
    assert!(error.to_string().starts_with(&wanted), "{error}");
}

#[test]
fn what_a_kill_left_of_a_rotation_is_removed() {
    let dir = TempDir::new().unwrap();
    for name in ["a.cblog.tmp", "a.cblog.zst.tmp", "b.tmp", "b.zst.tmp", "c.cblog"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    let config = LogConfig::new(dir.path());
    let (writer, _producer, _sender) =
        LogWriter::start(config, header(0), &LogStart::Initial, || Nanos(0)).unwrap();
    assert!(writer.finish().complete);
    let wanted = [&header(0).file_name(), "b.tmp", "b.zst.tmp", "c.cblog", MANIFEST_NAME];
    assert_eq!(names_in(dir.path()), wanted);
    // No log, so it is left alone.
    assert_eq!(fs::read(dir.path().join("c.cblog")).unwrap(), b"x");
}

fn names_in(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}
