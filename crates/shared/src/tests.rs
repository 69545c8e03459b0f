//! A zone is tested as it is used: opened a second time from a copy of its descriptor, in this process and in another.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use rustix::fs::{fcntl_add_seals, fstat, ftruncate, memfd_create, FileType, MemfdFlags, SealFlags};
use rustix::io::{fcntl_setfd, FdFlags};

use super::*;

const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);
const SLOT_VARIABLE: &str = "HEADGATE_TEST_ZONE_SLOT";

fn zone(slots: u32, cells: u32) -> Zone {
    Zone::create(slots, cells).expect("the system gives a memfd")
}

fn copy_of(zone: &Zone) -> OwnedFd {
    zone.fd().try_clone_to_owned().expect("a descriptor is free")
}

/// A memfd with this content, sealed as a zone is.
fn sealed(content: &[u8]) -> OwnedFd {
    let fd = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("a memfd");
    let mut file = File::from(fd);
    file.write_all(content).expect("memory takes the bytes");
    fcntl_add_seals(&file, SIZE_SEALS).expect("sealing is allowed");
    file.into()
}

fn header(words: [u64; 4]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

#[test]
fn test_cells_are_independent_and_start_at_zero() {
    let zone = zone(2, 3);
    zone.add(0, 1, 5);
    zone.sub(0, 1, 2);
    zone.set(1, 2, 7);
    let all: Vec<u64> = (0..2)
        .flat_map(|slot| (0..3).map(move |cell| (slot, cell)))
        .map(|(slot, cell)| zone.get(slot, cell))
        .collect();
    assert_eq!(all, [0, 3, 0, 0, 0, 7]);
    assert_eq!((zone.slots(), zone.cells()), (2, 3));
}

#[test]
fn test_share_of_a_dead_worker_vanishes_with_its_slot() {
    let zone = zone(3, 2);
    for slot in 0..3 {
        zone.add(slot, 0, u64::from(slot) + 1);
        zone.add(slot, 1, 10);
    }
    assert_eq!((zone.sum(0), zone.sum(1)), (6, 30));
    zone.clear(1);
    assert_eq!((zone.sum(0), zone.sum(1)), (4, 20));
}

#[test]
fn test_sum_is_right_when_one_slot_takes_what_another_added() {
    let zone = zone(2, 1);
    zone.add(0, 0, 3);
    zone.sub(1, 0, 2);
    assert_eq!(zone.sum(0), 1);
}

#[test]
fn test_a_second_mapping_sees_the_same_numbers() {
    let first = zone(4, 100);
    let second = Zone::open(copy_of(&first)).expect("it is a zone");
    first.add(3, 99, 41);
    second.add(3, 99, 1);
    assert_eq!((first.get(3, 99), second.get(3, 99)), (42, 42));
    assert_eq!((second.slots(), second.cells()), (4, 100));
    drop(first);
    assert_eq!(second.get(3, 99), 42);
}

#[test]
fn test_no_addition_is_lost_between_threads() {
    let first = zone(1, 1);
    let second = Zone::open(copy_of(&first)).expect("it is a zone");
    std::thread::scope(|scope| {
        for zone in [&first, &second, &first, &second] {
            scope.spawn(move || (0..10_000).for_each(|_| zone.add(0, 0, 1)));
        }
    });
    assert_eq!(first.sum(0), 40_000);
}

/// The other side of `test_another_process_counts_in_its_slot`: does nothing unless started by it.
#[test]
fn helper_process_that_counts() {
    let Ok(slot) = std::env::var(SLOT_VARIABLE) else {
        return;
    };
    let slot = slot.parse().expect("the parent wrote a number");
    let inherited = std::io::stdin().as_fd().try_clone_to_owned();
    let zone = Zone::open(inherited.expect("a descriptor is free")).expect("the parent passed a zone");
    (0..1000).for_each(|_| zone.add(slot, 0, 1));
}

#[test]
fn test_another_process_counts_in_its_slot() {
    let zone = zone(3, 1);
    zone.add(0, 0, 1);
    let program = std::env::current_exe().expect("a test has a program");
    let children: Vec<_> = ["1", "2"]
        .into_iter()
        .map(|slot| {
            Command::new(&program)
                .args(["--exact", "zone::tests::helper_process_that_counts"])
                .env(SLOT_VARIABLE, slot)
                .stdin(Stdio::from(copy_of(&zone)))
                .stdout(Stdio::null())
                .spawn()
                .expect("the test program starts again")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    assert_eq!((zone.get(1, 0), zone.get(2, 0), zone.sum(0)), (1000, 1000, 2001));
}

#[test]
fn test_sizes_of_zero_or_past_the_limits_are_refused() {
    for (slots, cells) in [(0, 1), (1, 0), (u32::MAX, u32::MAX)] {
        let error = Zone::create(slots, cells).expect_err("the size is bad");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("hint:"), "{error}");
    }
}

#[test]
fn test_a_zone_cannot_be_cut_short_under_its_readers() {
    let zone = zone(1, 1);
    assert!(ftruncate(zone.fd(), 0).is_err());
    assert!(ftruncate(zone.fd(), 1 << 20).is_err());
    zone.add(0, 0, 1);
}

#[test]
fn test_the_descriptor_is_not_inherited_unasked() {
    let zone = zone(1, 1);
    let flags = rustix::io::fcntl_getfd(zone.fd()).expect("it is open");
    assert!(flags.contains(FdFlags::CLOEXEC));
    fcntl_setfd(zone.fd(), FdFlags::empty()).expect("it may be passed on");
}

#[test]
fn test_files_that_are_not_sealed_are_refused() {
    let plain = File::open("/dev/null").expect("it is always there");
    assert!(matches!(Zone::open(plain.into()), Err(ZoneError::NotSealed)));
    let unsealed = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("a memfd");
    assert!(matches!(Zone::open(unsealed), Err(ZoneError::NotSealed)));
}

#[test]
fn test_garbage_is_refused() {
    assert!(matches!(Zone::open(sealed(b"")), Err(ZoneError::NotAZone)));
    assert!(matches!(Zone::open(sealed(&[0; 31])), Err(ZoneError::NotAZone)));
    assert!(matches!(
        Zone::open(sealed(&[0x5a; 9000])),
        Err(ZoneError::NotAZone)
    ));
    let other = sealed(&header([MAGIC, 99, 1, 1]));
    assert!(matches!(Zone::open(other), Err(ZoneError::Version { found: 99 })));
}

#[test]
fn test_a_truncated_zone_is_refused() {
    let whole = zone(2, 2);
    let mut content = Vec::new();
    let mut file = File::open(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&whole.fd())
    ))
    .expect("a memfd can be read");
    file.read_to_end(&mut content).expect("it can be read");
    assert!(Zone::open(sealed(&content)).is_ok());
    for kept in [32, 4096, content.len() - 1] {
        let cut = Zone::open(sealed(&content[..kept]));
        assert!(
            matches!(cut, Err(ZoneError::Size { .. })),
            "{kept} bytes: {cut:?}"
        );
    }
}

#[test]
fn test_sizes_that_lie_are_refused() {
    for (slots, cells) in [
        (0, 0),
        (1, 2),
        (u64::MAX, 1),
        (1 << 32, 1),
        (4096, 1 << 20),
        (1, u64::MAX),
    ] {
        let mut content = header([MAGIC, VERSION, slots, cells]);
        content.resize(4096, 0);
        let opened = Zone::open(sealed(&content));
        assert!(
            matches!(opened, Err(ZoneError::Size { .. })),
            "{slots} x {cells}: {opened:?}"
        );
    }
}

#[test]
fn test_a_pipe_is_no_zone() {
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    let stat = fstat(&reader).expect("it is open");
    assert_eq!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo);
    assert!(matches!(Zone::open(reader.into()), Err(ZoneError::NotSealed)));
}

#[test]
#[should_panic(expected = "cell 2 of a zone of 2")]
fn test_a_cell_that_does_not_exist_panics() {
    zone(1, 2).get(0, 2);
}

#[test]
#[should_panic(expected = "cell 2 of a zone of 2")]
fn test_a_cell_that_does_not_exist_is_not_counted_in_another_slot() {
    zone(2, 2).slot(0).count(2, 1);
}

#[test]
fn a_retired_slot_leaves_what_has_been_and_takes_what_is_along() {
    let zone = Zone::create(3, 4).expect("memory");
    for (slot, cell, n) in [(0, 0, 5), (0, 1, 7), (1, 0, 1), (2, 0, 10)] {
        zone.add(slot, cell, n);
    }
    zone.retire(0, 2, |cell| cell == 1);
    assert_eq!(
        (zone.sum(0), zone.sum(1), zone.get(0, 0), zone.get(2, 0)),
        (16, 0, 0, 15)
    );
}
