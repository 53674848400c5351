//! A full disk under the basket.

use contracts::checkout::BasketError;
use procession::calls::Failure;
use testkit::{DEADLINE, Tmpfs};

use crate::baskets::Shop;

/// So many items fill what is left of the segment in use, and many more.
const ITEMS_MAX: u32 = 20_000;

#[test]
fn what_cannot_be_written_down_has_not_happened() {
    let shop = Shop::new();
    let Some(disk) = Tmpfs::mount(&shop.home.instance("basket"), 4 << 20) else { return };
    let mut basket = shop.open(&["--journal-segment-bytes", "256 KiB", "--lines-max", "100000"]);
    shop.start("1-1", 1).unwrap();
    let ballast = disk.fill();
    let mut refused = None;
    for number in 0..ITEMS_MAX {
        match shop.add("1-1", "milk", &format!("add-{number}")) {
            Ok(added) => assert_eq!(added.line, number + 1),
            Err(Failure::Refused(BasketError::NotRecorded { reason })) => {
                println!("after {number} items: {reason}");
                refused = Some(number);
                break;
            }
            Err(failure) => panic!("{failure:?}"),
        }
    }
    let added = refused.expect("the disk is full at some time");
    assert!(basket.is_alive());
    assert_eq!(shop.get("1-1").unwrap().lines.len(), added as usize);

    ballast.remove();
    // The same request, once there is room.
    assert_eq!(shop.add("1-1", "milk", &format!("add-{added}")).unwrap().line, added + 1);
    basket.kill9();
    let basket = shop.open(&["--lines-max", "100000"]);
    assert_eq!(shop.get("1-1").unwrap().lines.len(), added as usize + 1);
    basket.terminate(DEADLINE).assert_code(0);
}
