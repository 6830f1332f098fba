//! Who is in the house: open handshakes, logins that wait for a core, sessions. Each is bounded.
//!
//! A stranger can open connections faster than anyone can tell good from bad. So a newcomer is never refused for want of
//! room: the oldest handshake that still waits for its peer makes way. A good client is done in the time of two round
//! trips, long before it is the oldest; whoever stalls, drips or never speaks is not.
//!
//! A login that has arrived is different: it has done its part and waits for us. It is safe from newcomers, in a queue
//! with a bound of its own, first come, first served, and as many are worked on at once as there are cores.

use super::conn::Conn;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much is let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) handshakes: usize,
    pub(crate) sessions: usize,
    /// Logins whose RSA operation and password hash run at once.
    pub(crate) cores: usize,
    /// How long a login waits for a core.
    pub(crate) patience: Duration,
}

impl Limits {
    /// Logins that may wait for a core: half of the handshakes, so that the other half can always make way.
    fn queue(&self) -> usize {
        self.handshakes.checked_div(2).unwrap_or_default().max(1)
    }

    /// Threads in all. A handshake that made way can leave a thread behind that sleeps until its refusal would have been
    /// due: a quarter of a second each, without a connection. Four of them for each handshake is past any honest load.
    fn threads(&self) -> usize {
        self.handshakes.saturating_mul(4).saturating_add(self.sessions)
    }
}

/// The table of connections.
pub(crate) struct Gate {
    limits: Limits,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    /// By age: the first is the oldest.
    handshakes: BTreeMap<u64, Handshake>,
    /// Logins that wait for a core, in the order of their arrival.
    queue: VecDeque<u64>,
    working: usize,
    sessions: BTreeMap<u64, Arc<Conn>>,
    threads: usize,
    evicted: u64,
    stopping: bool,
}

struct Handshake {
    conn: Arc<Conn>,
    /// Its login has arrived: it waits for us now, not we for it.
    arrived: bool,
}

impl State {
    /// Cuts the oldest handshake that waits for its peer; false if there is none.
    fn evict(&mut self) -> bool {
        let oldest = self.handshakes.iter().find(|(_, handshake)| !handshake.arrived).map(|(&id, _)| id);
        let Some(handshake) = oldest.and_then(|id| self.handshakes.remove(&id)) else {
            return false;
        };
        handshake.conn.cut();
        self.evicted = self.evicted.saturating_add(1);
        true
    }

    fn set_arrived(&mut self, id: u64, arrived: bool) {
        if let Some(handshake) = self.handshakes.get_mut(&id) {
            handshake.arrived = arrived;
        }
    }
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Lets a connection in; the oldest handshakes make room for it. `None` where the server is stopping or has no
    /// threads left.
    pub(crate) fn enter(self: &Arc<Self>, conn: Conn) -> Option<Place> {
        let mut state = self.lock();
        if state.stopping || state.threads >= self.limits.threads() {
            return None;
        }
        while state.handshakes.len() >= self.limits.handshakes && state.evict() {}
        let (id, conn) = (state.next, Arc::new(conn));
        state.next = state.next.saturating_add(1);
        state.threads = state.threads.saturating_add(1);
        state.handshakes.insert(id, Handshake { conn: Arc::clone(&conn), arrived: false });
        Some(Place { gate: Arc::clone(self), conn, id })
    }

    /// The process is out of descriptors: the oldest handshake makes room. Waits a moment until something has changed,
    /// so that whoever tries again in a loop does not spin.
    pub(crate) fn make_room(&self) {
        let mut state = self.lock();
        state.evict();
        let _ = self.changed.wait_timeout(state, Duration::from_millis(50));
    }

    /// Takes nobody in any more, cuts the handshakes, and wakes the sessions.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        for handshake in std::mem::take(&mut state.handshakes).into_values() {
            handshake.conn.cut();
        }
        for conn in state.sessions.values() {
            conn.end_reading();
        }
        self.changed.notify_all();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Waits for [`Gate::stop`].
    pub(crate) fn wait_for_stop(&self) {
        drop(self.changed.wait_while(self.lock(), |state| !state.stopping));
    }

    /// Waits until everyone has left, but not for long.
    pub(crate) fn wait_until_empty(&self, timeout: Duration) {
        drop(self.changed.wait_timeout_while(self.lock(), timeout, |state| state.threads > 0));
    }

    /// How many handshakes had to make way so far.
    pub(crate) fn evicted(&self) -> u64 {
        self.lock().evicted
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place in the table; dropping it, even in a panic, leaves the house.
pub(crate) struct Place {
    gate: Arc<Gate>,
    conn: Arc<Conn>,
    id: u64,
}

impl Place {
    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }

    /// Waits for a core, for a login that has arrived. An error says why it was not admitted.
    pub(crate) fn admit(&self) -> Result<Permit<'_>, &'static str> {
        let (gate, id) = (&*self.gate, self.id);
        let mut state = gate.lock();
        if state.queue.len() >= gate.limits.queue() {
            return Err("too many logins wait for a core");
        }
        state.queue.push_back(id);
        state.set_arrived(id, true);
        let must_wait = |state: &mut State| {
            !state.stopping && (state.working >= gate.limits.cores || state.queue.front() != Some(&id))
        };
        let waited = gate.changed.wait_timeout_while(state, gate.limits.patience, must_wait);
        let (mut state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        state.queue.retain(|&waiting| waiting != id);
        gate.changed.notify_all();
        let refusal = if state.stopping {
            Some("the server is stopping")
        } else if result.timed_out() {
            Some("no core was free in time")
        // Every login that is worked on may become a session.
        } else if state.sessions.len().saturating_add(state.working) >= gate.limits.sessions {
            Some("too many sessions (--max-sessions)")
        } else {
            None
        };
        if let Some(refusal) = refusal {
            state.set_arrived(id, false);
            return Err(refusal);
        }
        state.working = state.working.saturating_add(1);
        Ok(Permit { gate, id })
    }

    /// The login was accepted: the handshake becomes a session. Unless the server is stopping: it is cut then.
    pub(crate) fn become_session(&self) {
        let mut state = self.gate.lock();
        state.handshakes.remove(&self.id);
        if !state.stopping {
            state.sessions.insert(self.id, Arc::clone(&self.conn));
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.gate.is_stopping()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The descriptor goes first, for whoever waits for one.
        self.conn.cut();
        let mut state = self.gate.lock();
        state.handshakes.remove(&self.id);
        state.sessions.remove(&self.id);
        state.threads = state.threads.saturating_sub(1);
        self.gate.changed.notify_all();
    }
}

/// A core to work on a login with. Dropping it hands the core to the next login.
pub(crate) struct Permit<'a> {
    gate: &'a Gate,
    id: u64,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.working = state.working.saturating_sub(1);
        state.set_arrived(self.id, false);
        self.gate.changed.notify_all();
    }
}
