//! Who is in the house: open handshakes, logins that wait for a core, sessions. Each is bounded.
//!
//! A stranger can open connections faster than anyone can tell good from bad. So a newcomer is never refused for want of
//! room: the oldest handshake that still waits for its peer makes way. A good client is done in the time of two round
//! trips, long before it is the oldest; whoever stalls, drips or never speaks is not.
//!
//! A login that has arrived is different: it has done its part and waits for us. It is safe from newcomers, in a queue
//! with a bound of its own, first come, first served, and as many are worked on at once as there are cores. One that would
//! wait too long is refused before the RSA operation: those that are served are served in time, under any load.
//!
//! A login that was decided against keeps its place until its refusal is sent. Could newcomers push it out before, then
//! whoever floods the table would see when the decision fell, and that tells why: the refusal floor would be no floor.

use super::conn::Conn;
use countersign::blocking::Transport;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
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

    /// Decided logins that wait for their refusal to be due. Past them no login is worked on: a descriptor each, and they
    /// do not make way.
    fn refusals(&self) -> usize {
        self.queue()
    }

    /// Threads in all. A handshake that made way can leave a thread behind that sleeps until its refusal would have been
    /// due: a quarter of a second each, without a connection. Four of them for each handshake is past any honest load.
    fn threads(&self) -> usize {
        self.handshakes.saturating_mul(4).saturating_add(self.sessions)
    }
}

/// Why a session past the limit is refused.
pub(crate) const TOO_MANY: &str = "too many sessions (--max-sessions)";

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
    /// Logins that were decided against, and not told yet.
    refusals: BTreeMap<u64, Arc<Conn>>,
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

    /// Makes handshakes make way until there are no more than `count`, or none that could.
    fn trim(&mut self, count: usize) {
        while self.handshakes.len() > count && self.evict() {}
    }

    /// Makes a session of a handshake.
    fn seat(&mut self, id: u64, conn: &Arc<Conn>) {
        self.handshakes.remove(&id);
        if !self.stopping {
            self.sessions.insert(id, Arc::clone(conn));
        }
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
        state.trim(self.limits.handshakes.saturating_sub(1));
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
        for conn in std::mem::take(&mut state.refusals).into_values() {
            conn.cut();
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

    /// Whether there can be one session more. Every login that is worked on may become one.
    fn has_room(&self, state: &State) -> bool {
        state.sessions.len().saturating_add(state.working) < self.limits.sessions
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
            let full = state.working >= gate.limits.cores
                // Every login that is worked on may have to be refused.
                || state.refusals.len().saturating_add(state.working) >= gate.limits.refusals();
            !state.stopping && (full || state.queue.front() != Some(&id))
        };
        let waited = gate.changed.wait_timeout_while(state, gate.limits.patience, must_wait);
        let (mut state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        state.queue.retain(|&waiting| waiting != id);
        gate.changed.notify_all();
        let refusal = if state.stopping {
            Some("the server is stopping")
        } else if result.timed_out() {
            Some("no core was free in time")
        } else if !gate.has_room(&state) {
            Some(TOO_MANY)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            state.set_arrived(id, false);
            return Err(refusal);
        }
        state.working = state.working.saturating_add(1);
        Ok(Permit(gate))
    }

    /// The login was decided against: nobody can push it out until its refusal is sent, as if it were still undecided.
    pub(crate) fn become_refusal(&self) {
        let mut state = self.gate.lock();
        if let Some(Handshake { conn, .. }) = state.handshakes.remove(&self.id) {
            state.refusals.insert(self.id, conn);
        }
    }

    /// The last word is on its way. What is left is to wait for the peer to hang up, and that can make way.
    fn told(&self) {
        let mut state = self.gate.lock();
        if let Some(conn) = state.refusals.remove(&self.id) {
            state.handshakes.insert(self.id, Handshake { conn, arrived: false });
            state.trim(self.gate.limits.handshakes);
            self.gate.changed.notify_all();
        }
    }

    /// The login was accepted: the handshake becomes a session. Unless the server is stopping: it is cut then.
    pub(crate) fn become_session(&self) {
        self.gate.lock().seat(self.id, &self.conn);
    }

    /// Whether a login by ticket could become a session now.
    pub(crate) fn has_room(&self) -> bool {
        self.gate.has_room(&self.gate.lock())
    }

    /// A login by ticket has waited for no core, so nothing keeps a seat for it: false where others took the last one.
    pub(crate) fn become_session_if_room(&self) -> bool {
        let mut state = self.gate.lock();
        let has_room = self.gate.has_room(&state);
        if has_room {
            state.seat(self.id, &self.conn);
        }
        has_room
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.gate.is_stopping()
    }
}

impl Read for &Place {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.conn().read(buffer)
    }
}

impl Write for &Place {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.conn().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.conn().flush()
    }
}

impl Transport for &Place {
    /// A handshake ends its sending direction once it has sent its refusal.
    fn end_sending(&mut self) -> io::Result<()> {
        let ended = self.conn().end_sending();
        self.told();
        ended
    }

    fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.conn().set_timeouts(timeout)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The descriptor goes first, for whoever waits for one.
        self.conn.cut();
        let mut state = self.gate.lock();
        state.handshakes.remove(&self.id);
        state.refusals.remove(&self.id);
        state.sessions.remove(&self.id);
        state.threads = state.threads.saturating_sub(1);
        self.gate.changed.notify_all();
    }
}

/// A core to work on a login with. Dropping it hands the core to the next login, and leaves this one safe from newcomers.
pub(crate) struct Permit<'a>(&'a Gate);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.working = state.working.saturating_sub(1);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    /// A gate for four handshakes, two waiting refusals and one core, whose logins wait for nothing; and its door.
    fn gate() -> (Arc<Gate>, impl Fn() -> (Place, TcpStream)) {
        let limits = Limits { handshakes: 4, sessions: 4, cores: 1, patience: Duration::ZERO };
        let gate = Arc::new(Gate::new(limits));
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let enter = Arc::clone(&gate);
        let enter = move || {
            let peer = TcpStream::connect(door.local_addr().unwrap()).unwrap();
            let (stream, address) = door.accept().unwrap();
            (enter.enter(Conn::new(stream, address)).unwrap(), peer)
        };
        (gate, enter)
    }

    fn refused(place: &Place) {
        let permit = place.admit().unwrap_or_else(|reason| panic!("{reason}"));
        place.become_refusal();
        drop(permit);
    }

    #[test]
    fn nobody_pushes_a_decided_login_out_before_its_refusal_is_sent() {
        let (gate, enter) = gate();
        let (decided, _peer) = enter();
        refused(&decided);
        let crowd: Vec<_> = (0..12).map(|_| enter()).collect();
        gate.make_room();
        assert!(!decided.conn().is_cut());
        assert_eq!(crowd.iter().filter(|(place, _)| !place.conn().is_cut()).count(), 3);
        // From then on it is the oldest of all, and the first to go.
        (&decided).end_sending().unwrap();
        assert!(!decided.conn().is_cut());
        let _last = (enter(), enter());
        assert!(decided.conn().is_cut());
    }

    #[test]
    fn a_login_between_its_core_and_its_verdict_is_safe_too() {
        let (_, enter) = gate();
        let (place, _peer) = enter();
        drop(place.admit());
        let _crowd: Vec<_> = (0..12).map(|_| enter()).collect();
        assert!(!place.conn().is_cut());
    }

    #[test]
    fn a_login_that_was_not_admitted_makes_way() {
        let (_, enter) = gate();
        let ((worked_on, _a), (place, _b)) = (enter(), enter());
        let _permit = worked_on.admit();
        assert_eq!(place.admit().err(), Some("no core was free in time"));
        let _crowd: Vec<_> = (0..4).map(|_| enter()).collect();
        assert!(place.conn().is_cut());
        assert!(!worked_on.conn().is_cut());
    }

    #[test]
    fn tickets_keep_to_the_limit_of_sessions() {
        let (_, enter) = gate();
        let ((worked_on, _a), (late, _b)) = (enter(), enter());
        let seated: Vec<_> = (0..3).map(|_| enter()).collect();
        assert!(seated.iter().all(|(place, _)| place.become_session_if_room()));
        assert!(late.has_room());
        // The last seat is kept for a login that has a core.
        let permit = worked_on.admit();
        assert!(!late.has_room() && !late.become_session_if_room());
        drop(permit);
        assert!(late.become_session_if_room());
        assert_eq!(worked_on.admit().err(), Some(TOO_MANY));
    }

    #[test]
    fn waiting_refusals_are_bounded() {
        let (_, enter) = gate();
        let waiting = [enter(), enter()];
        waiting.iter().for_each(|(place, _)| refused(place));
        let (next, _peer) = enter();
        assert_eq!(next.admit().err(), Some("no core was free in time"));
        let [(first, _), _] = &waiting;
        (&*first).end_sending().unwrap();
        assert!(next.admit().is_ok());
    }

    #[test]
    fn a_server_that_stops_cuts_refusals_that_are_not_due() {
        let (gate, enter) = gate();
        let (decided, _peer) = enter();
        refused(&decided);
        gate.stop();
        assert!(decided.conn().is_cut());
    }
}
