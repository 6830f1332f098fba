//! Questions on the terminal, and those whose answer is not shown. Whatever ends it, the terminal is left as it was found.

use std::io;
use zeroize::Zeroizing;

/// What came of a question.
pub(crate) enum Answer {
    Typed(Zeroizing<Vec<u8>>),
    /// Ctrl-D: there is no answer.
    End,
}

/// Asks on the terminal of this process, wherever its standard input and output go.
///
/// # Errors
/// Where there is no terminal.
pub(crate) fn ask(prompt: &str) -> io::Result<Answer> {
    terminal::ask(prompt)
}

/// As [`ask`], where the answer is seen while it is typed.
///
/// # Errors
/// Where there is no terminal.
pub(crate) fn ask_shown(prompt: &str) -> io::Result<Answer> {
    terminal::ask_shown(prompt)
}

/// Leaves the terminal as it was, though a question may be open that nobody waits for any more.
pub(crate) fn give_up() {
    #[cfg(unix)]
    terminal::give_up();
}

/// Whether there is a terminal to ask on.
pub(crate) fn has_terminal() -> bool {
    terminal::is_there()
}

/// From now on signals do what the rest of the program says: it has asked its last question.
pub(crate) fn no_more_questions() {
    #[cfg(unix)]
    terminal::leave_signals();
}

#[cfg(unix)]
mod terminal {
    use super::Answer;
    use rustix::termios::{LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
    use signal_hook::iterator::{Handle, Signals};
    use signal_hook::low_level::emulate_default_handler;
    use std::fs::{File, OpenOptions};
    use std::io::{self, Read, Write};
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::thread;
    use zeroize::Zeroizing;

    /// For the longest line that a terminal gives, and its line feed.
    const ROOM: usize = 4096;

    /// The terminal while it does not show what is typed, and how it was before.
    struct Hidden {
        terminal: File,
        before: Termios,
        prompt: String,
    }

    static HIDDEN: Mutex<Option<Hidden>> = Mutex::new(None);
    static WATCH: Mutex<Option<Handle>> = Mutex::new(None);

    pub(super) fn give_up() {
        drop(Shown);
    }

    pub(super) fn ask(prompt: &str) -> io::Result<Answer> {
        let mut terminal = open()?;
        let before = tcgetattr(&terminal)?;
        watch()?;
        // Restores on every way out of here, a panic among them; signals come to the thread of `watch`.
        let _shown = Shown;
        let hidden = Hidden { terminal: terminal.try_clone()?, before, prompt: prompt.to_owned() };
        lock(&HIDDEN).insert(hidden).hide()?;
        read_line(&mut terminal)
    }

    pub(super) fn ask_shown(prompt: &str) -> io::Result<Answer> {
        let mut terminal = open()?;
        // What was typed before the question is not its answer.
        tcflush(&terminal, QueueSelector::IFlush)?;
        terminal.write_all(prompt.as_bytes())?;
        read_line(&mut terminal)
    }

    pub(super) fn is_there() -> bool {
        open().is_ok()
    }

    fn open() -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open("/dev/tty")
    }

    fn read_line(terminal: &mut File) -> io::Result<Answer> {
        let mut line = Zeroizing::new(Vec::with_capacity(ROOM));
        // One byte at a time: what follows the line is somebody else's.
        let mut byte = Zeroizing::new([0]);
        loop {
            match terminal.read(&mut *byte) {
                Ok(0) if line.is_empty() => break Ok(Answer::End),
                Ok(0) => break Ok(Answer::Typed(line)),
                Ok(_) if *byte == *b"\n" => break Ok(Answer::Typed(line)),
                // Growing would leave a copy of it behind.
                Ok(_) if line.len() < ROOM => line.extend_from_slice(&*byte),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        }
    }

    pub(super) fn leave_signals() {
        if let Some(watch) = lock(&WATCH).take() {
            watch.close();
        }
    }

    impl Hidden {
        fn hide(&mut self) -> io::Result<()> {
            let mut modes = self.before.clone();
            modes.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
            // What was typed before the question is not its answer.
            tcsetattr(&self.terminal, OptionalActions::Flush, &modes)?;
            self.terminal.write_all(self.prompt.as_bytes())
        }

        fn show(&mut self) {
            let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
            let _ = self.terminal.write_all(b"\n");
        }
    }

    struct Shown;

    impl Drop for Shown {
        fn drop(&mut self) {
            if let Some(mut hidden) = lock(&HIDDEN).take() {
                hidden.show();
            }
        }
    }

    /// Watches, from the first question on, for the signals that end or stop a process: they do what they always do, but the
    /// terminal is put right first.
    fn watch() -> io::Result<()> {
        let mut watch = lock(&WATCH);
        if watch.is_some() {
            return Ok(());
        }
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP])?;
        *watch = Some(signals.handle());
        thread::Builder::new().spawn(move || {
            for signal in signals.forever() {
                let mut hidden = lock(&HIDDEN);
                if let Some(hidden) = &mut *hidden {
                    hidden.show();
                }
                let _ = emulate_default_handler(signal);
                // Stopped, and continued.
                if let Some(hidden) = &mut *hidden {
                    let _ = hidden.hide();
                }
            }
        })?;
        Ok(())
    }

    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(not(unix))]
mod terminal {
    use super::Answer;
    use std::io::{self, IsTerminal, Write};
    use zeroize::Zeroizing;

    pub(super) fn ask(prompt: &str) -> io::Result<Answer> {
        match rpassword::prompt_password(prompt) {
            Ok(text) => Ok(Answer::Typed(Zeroizing::new(text.into_bytes()))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Answer::End),
            Err(error) => Err(error),
        }
    }

    pub(super) fn ask_shown(prompt: &str) -> io::Result<Answer> {
        if !is_there() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        io::stderr().write_all(prompt.as_bytes())?;
        let mut line = String::new();
        match io::stdin().read_line(&mut line)? {
            0 => Ok(Answer::End),
            _ => Ok(Answer::Typed(Zeroizing::new(line.into_bytes()))),
        }
    }

    pub(super) fn is_there() -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }
}
