//! The terminal: a thread that draws what it is given, a thread that reads keys, and the way back to how it was.
//!
//! Drawing has a thread of its own because a terminal can stand still (Ctrl-S, a slow link): frames that it has no room
//! for are dropped. Neighbours: `watcher` sends models and hears keys. Invariant: alternate screen and raw mode are on only
//! while [`ACTIVE`] says so, and whoever turns that off restores both: the end, a drop, a panic anywhere. Who stops the process
//! (Ctrl-Z, or SIGTSTP from elsewhere) has it restored before it stands.

use super::{draw, model::Model};
use crate::output;
use crossterm::{
    cursor, event,
    event::{Event, KeyEvent},
    execute,
    terminal::{self, EnterAlternateScreen, LeaveAlternateScreen},
};
use ratatui::{Terminal, backend::CrosstermBackend};
use rustix::process::Signal;
use std::{
    io::{IsTerminal as _, Stderr},
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
};

/// What asks a process to stop, and can be heard.
pub const STOPS: i32 = Signal::TSTP.as_raw();

/// Whether the screen is ours now.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// Frames that wait to be drawn: one under way and one after it.
const FRAMES: usize = 2;

/// Keys that wait to be heard; a person types slower.
const KEYS: usize = 64;

/// How long the keys' thread waits for a key before it looks whether it is still wanted.
const KEY_PACE: Duration = Duration::from_millis(100);

/// How long it is waited for a terminal to be restored that stands still.
const PATIENCE: Duration = Duration::from_secs(1);

/// A screen of ours, until it is closed or dropped.
pub struct Screen {
    orders: Option<SyncSender<Order>>,
    keys: mpsc::Receiver<KeyEvent>,
    has_keys: bool,
    done: Arc<AtomicBool>,
    closed: Option<oneshot::Receiver<()>>,
}

enum Order {
    Draw(Box<Model>),
    Suspend,
    Again,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// When it cannot be drawn on.
    pub fn open() -> std::io::Result<Self> {
        let has_keys = std::io::stdin().is_terminal();
        restore_on_panic();
        if ACTIVE.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("another run has the screen"));
        }
        enter(has_keys)?;
        let drawn = Terminal::new(CrosstermBackend::new(std::io::stderr()));
        let mut terminal = drawn.inspect_err(|_| restore())?;
        let (orders, incoming) = sync_channel(FRAMES);
        let (close, closed) = oneshot::channel();
        let (typed, keys) = mpsc::channel(KEYS);
        let done = Arc::new(AtomicBool::new(false));
        let drawing = move || {
            // Ends when the sender is dropped, when drawing fails, or when somebody else has restored the terminal.
            while let Ok(order) = incoming.recv() {
                if !ACTIVE.load(Ordering::SeqCst) || carry_out(order, &mut terminal, has_keys).is_err() {
                    break;
                }
            }
            restore();
            // Nobody may be waiting any more.
            let _ = close.send(());
        };
        thread::Builder::new().name("screen".into()).spawn(drawing).inspect_err(|_| restore())?;
        let screen = Self { orders: Some(orders), keys, has_keys, done: Arc::clone(&done), closed: Some(closed) };
        if has_keys {
            thread::Builder::new().name("keys".into()).spawn(move || read_keys(&typed, &done))?;
        }
        Ok(screen)
    }

    /// Whether keys are read.
    pub const fn has_keys(&self) -> bool {
        self.has_keys
    }

    /// Draws this, unless the terminal is not ready for it. False when there is no screen any more.
    pub fn draw(&self, model: &Model) -> bool {
        self.order(Order::Draw(Box::new(model.clone())))
    }

    /// Gives the terminal back and stops the process, for Ctrl-Z and for SIGTSTP; takes it again when it is continued.
    pub fn suspend(&self) -> bool {
        self.order(Order::Suspend)
    }

    /// Takes it again: somebody else stopped and continued us, and may have changed it.
    pub fn again(&self) -> bool {
        self.order(Order::Again)
    }

    fn order(&self, order: Order) -> bool {
        let sent = self.orders.as_ref().map(|orders| orders.try_send(order));
        matches!(sent, Some(Ok(()) | Err(TrySendError::Full(_))))
    }

    /// The next key; waits for ever where none are read.
    pub async fn key(&mut self) -> KeyEvent {
        match self.keys.recv().await {
            Some(key) => key,
            None => std::future::pending().await,
        }
    }

    /// Gives the terminal back, and waits for that, but not for ever.
    pub async fn close(mut self) {
        self.done.store(true, Ordering::SeqCst);
        self.orders = None;
        if let Some(closed) = self.closed.take() {
            // A terminal that stands still is given up; a thread that is gone has restored it.
            let _ = tokio::time::timeout(PATIENCE, closed).await;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        self.orders = None;
        restore();
    }
}

fn carry_out(order: Order, terminal: &mut Terminal<CrosstermBackend<Stderr>>, has_keys: bool) -> std::io::Result<()> {
    match order {
        Order::Draw(model) => {
            terminal.draw(|frame| draw::draw(&model, frame))?;
            return Ok(());
        }
        Order::Suspend => {
            leave();
            // The whole group, as the terminal's driver does it; not by SIGTSTP, which we hear ourselves by now.
            let _ = rustix::process::kill_current_process_group(Signal::STOP);
            thread::sleep(KEY_PACE);
        }
        Order::Again => leave(),
    }
    if !ACTIVE.load(Ordering::SeqCst) {
        return Ok(());
    }
    enter(has_keys)?;
    terminal.clear()
}

fn read_keys(typed: &mpsc::Sender<KeyEvent>, done: &AtomicBool) {
    while !done.load(Ordering::SeqCst) && ACTIVE.load(Ordering::SeqCst) {
        match event::poll(KEY_PACE) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => return,
        }
        match event::read() {
            // Someone who types faster than that can be heard loses a key, not the run.
            Ok(Event::Key(key)) => drop(typed.try_send(key)),
            // A new size is seen when the next frame is drawn.
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn enter(has_keys: bool) -> std::io::Result<()> {
    ACTIVE.store(true, Ordering::SeqCst);
    output::hold();
    // Without keys, Ctrl-C must stay the signal that it is.
    let raw = if has_keys { terminal::enable_raw_mode() } else { Ok(()) };
    raw.and_then(|()| execute!(std::io::stderr(), EnterAlternateScreen, cursor::Hide)).inspect_err(|_| restore())
}

/// Back to how it was, but it stays ours.
fn leave() {
    let _ = execute!(std::io::stderr(), LeaveAlternateScreen, cursor::Show);
    let _ = terminal::disable_raw_mode();
}

/// Back to how it was, once; what was held back meanwhile is printed.
fn restore() {
    if ACTIVE.swap(false, Ordering::SeqCst) {
        leave();
        output::release();
    }
}

/// Hears SIGTSTP for as long as the process lives: a signal that is listened to once has no effect of its own any more, also
/// after the screen is gone. While there is one, its watcher suspends it.
pub fn stop_without_a_screen() -> std::io::Result<()> {
    static ONCE: AtomicBool = AtomicBool::new(false);
    if ONCE.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let mut stops = signal(SignalKind::from_raw(STOPS))?;
    // It ends with the runtime.
    tokio::spawn(async move {
        while stops.recv().await.is_some() {
            if !ACTIVE.load(Ordering::SeqCst) {
                let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
            }
        }
    });
    Ok(())
}

/// Before a panic is printed, so that it can be read.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let printed = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            printed(info);
        }));
    });
}
