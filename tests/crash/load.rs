//! Callers that keep a program busy, also over its crashes.

use std::{
    io,
    net::SocketAddr,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::Scope,
    time::Duration,
};

use crate::{
    client::{Client, Watch},
    ledger::{Content, Ledger},
    program::{echo, plain},
    rng::Rng,
};

/// Services with workers; the largest number of deliveries of each.
pub const WORKING: [(&str, u32); 3] = [("once", 1), ("jobs", 1), ("thrice", 3)];
/// The service without a worker.
pub const PLAIN: &str = "plain";
/// Accepted entries of one service that may be open before its producers wait.
const OPEN_MAX: usize = 60;
/// How long a caller that has to wait looks away.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Entries that the consumer of the plain queue may have in hand.
const WINDOW: u32 = 8;

/// The services that the load needs.
pub fn services() -> Vec<serde_json::Value> {
    vec![
        echo("once", "Async", 2, 1, 3),
        echo("jobs", "ScalableJob", 1, 1, 2),
        echo("thrice", "Async", 1, 3, 2),
        plain(PLAIN, 2),
    ]
}

/// Where the program is and what its callers know.
#[derive(Debug, Default)]
pub struct Stage {
    pub ledger: Ledger,
    act: Mutex<Act>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct Act {
    /// Counts the starts of the program.
    number: u64,
    address: Option<SocketAddr>,
    /// Nothing more is put.
    closing: bool,
    over: bool,
}

impl Stage {
    /// Tells all callers where the program is now.
    pub fn opens_at(&self, address: SocketAddr) {
        self.set(|act| {
            act.number += 1;
            act.address = Some(address);
        });
    }

    /// From now on nothing is put; consumers go on.
    pub fn stop_puts(&self) {
        self.set(|act| act.closing = true);
    }

    /// Ends all callers when it is dropped, also when a check fails.
    pub fn curtain(&self) -> impl Drop {
        Curtain(self)
    }

    fn set(&self, write: impl FnOnce(&mut Act)) {
        write(&mut self.act());
        self.changed.notify_all();
    }

    fn act(&self) -> MutexGuard<'_, Act> {
        self.act.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the start after the one of this number; `None` when there will be none.
    fn next_act(&self, seen: u64) -> Option<(u64, SocketAddr)> {
        let act = self
            .changed
            .wait_while(self.act(), |act| !act.over && act.number <= seen)
            .unwrap_or_else(PoisonError::into_inner);
        act.address
            .filter(|_| !act.over)
            .map(|address| (act.number, address))
    }

    fn plays(&self, number: u64) -> bool {
        let act = self.act();
        !act.over && act.number == number
    }

    /// Starts producers and consumers of every service.
    pub fn populate<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, seed: u64) {
        let names = WORKING.map(|(name, _)| name);
        for (number, name) in names.into_iter().chain(names).chain([PLAIN]).enumerate() {
            let mut rng = Rng::new(seed.wrapping_add(number as u64));
            scope.spawn(move || {
                self.perform(|number, address| self.produce(name, &mut rng, number, address));
            });
        }
        for name in names {
            scope.spawn(move || {
                self.perform(|number, address| self.empty_sink(name, number, address));
            });
        }
        scope.spawn(move || self.perform(|number, address| self.consume(number, address)));
    }

    /// Plays a part on every start of the program, each until the program is gone.
    fn perform(&self, mut part: impl FnMut(u64, SocketAddr) -> io::Result<()>) {
        let mut seen = 0;
        while let Some((number, address)) = self.next_act(seen) {
            seen = number;
            // An error is the crash that these tests are about.
            let _ = part(number, address);
        }
    }

    fn produce(
        &self,
        service: &'static str,
        rng: &mut Rng,
        number: u64,
        address: SocketAddr,
    ) -> io::Result<()> {
        let mut client = Client::new(address);
        while self.plays(number) && !self.act().closing {
            if self.ledger.book().open(service) >= OPEN_MAX {
                self.ledger.wait_for_change(LOOK_AGAIN);
                continue;
            }
            let content = match rng.within(1, 20) {
                1 => Content::Bytes(0),
                2 => Content::Bytes(300 * 1024),
                3 => Content::Fail,
                _ => Content::Bytes(rng.within(16, 1024) as usize),
            };
            let own_id = rng.once_in(2);
            let answer = self.ledger.put(&mut client, service, content, own_id)?;
            if answer.status != 200 {
                self.ledger.wait_for_change(LOOK_AGAIN);
            }
        }
        Ok(())
    }

    fn empty_sink(
        &self,
        service: &'static str,
        number: u64,
        address: SocketAddr,
    ) -> io::Result<()> {
        let mut client = Client::new(address);
        while self.plays(number) {
            if let Err(error) = self.ledger.take_results(&mut client, service) {
                if error.kind() != io::ErrorKind::Other {
                    return Err(error);
                }
                // The program answered, and said that its store fails at the moment.
                self.ledger.wait_for_change(LOOK_AGAIN);
            }
        }
        Ok(())
    }

    fn consume(&self, number: u64, address: SocketAddr) -> io::Result<()> {
        let mut client = Client::new(address);
        let mut watch = Watch::open(address, PLAIN, WINDOW)?;
        while self.plays(number) {
            let frame = watch.next()?;
            while let Err(error) = self.ledger.take_pushed(&mut client, PLAIN, &frame) {
                if error.kind() != io::ErrorKind::Other || !self.plays(number) {
                    return Err(error);
                }
                self.ledger.wait_for_change(LOOK_AGAIN);
            }
        }
        Ok(())
    }
}

struct Curtain<'a>(&'a Stage);

impl Drop for Curtain<'_> {
    fn drop(&mut self) {
        self.0.set(|act| act.over = true);
    }
}
