//! The live screen of `demo` and `run`: what a trader wants to see, redrawn twice a second.
//!
//! It only draws a `View`; where the numbers come from is the caller's business. Without a terminal
//! it prints a line of text every few seconds instead.

use super::summary::{StageLatency, TickToOrder, nanoseconds};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};
use ratatui::{DefaultTerminal, Frame};
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// One open position as people read it.
#[derive(Clone, Debug, Default)]
pub struct PositionLine {
    pub symbol: String,
    pub side: &'static str,
    pub size: String,
    pub entry: String,
    pub mark: String,
    pub stop: String,
    pub target: String,
    pub r: f64,
    pub protected: bool,
}

/// Everything on the screen.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub title: String,
    /// Decision time, UTC.
    pub clock: String,
    pub instruments: usize,
    pub frames: u64,
    pub frames_per_second: f64,
    pub candles: u64,
    pub signals: u64,
    pub orders: u64,
    pub fills: u64,
    pub refused: u64,
    pub closed: (u64, u64, u64),
    pub equity: f64,
    pub realised: f64,
    pub exposure: f64,
    pub entries: String,
    /// Trading calls left in 10 s, and of these for entries.
    pub budget: (u64, u64),
    /// Reads left in the minute.
    pub reads_left: u64,
    pub positions: Vec<PositionLine>,
    pub stages: Vec<(String, StageLatency)>,
    pub tick_to_order: TickToOrder,
    pub recent: Vec<String>,
    pub foot: String,
}

/// Draws the whole screen.
pub fn draw(frame: &mut Frame, view: &View) {
    let rows = Layout::vertical([
        Constraint::Length(6),
        Constraint::Min(6),
        Constraint::Length(view.stages.len() as u16 + 4),
        Constraint::Length(8),
        Constraint::Length(1),
    ])
    .split(frame.area());
    frame.render_widget(head(view), rows[0]);
    frame.render_widget(positions(view), rows[1]);
    frame.render_widget(stages(view), rows[2]);
    frame.render_widget(recent(view), rows[3]);
    frame.render_widget(Paragraph::new(view.foot.as_str()), rows[4]);
}

fn boxed(title: &str) -> Block<'_> {
    Block::default().borders(Borders::ALL).title(title)
}

fn head(view: &View) -> Paragraph<'_> {
    let strong = Style::default().add_modifier(Modifier::BOLD);
    let lines = vec![
        Line::from(format!(
            "{} instruments   {} frames ({:.0}/s)   {} candles closed",
            view.instruments, view.frames, view.frames_per_second, view.candles
        )),
        Line::from(format!(
            "{} signals   {} orders   {} fills   {} refused   closed: {} target, {} stop, {} other",
            view.signals, view.orders, view.fills, view.refused, view.closed.0, view.closed.1, view.closed.2
        )),
        Line::from(vec![
            Span::raw("equity "),
            Span::styled(format!("{:.2} USDT", view.equity), strong),
            Span::raw(format!(
                "   realised {:+.2}   exposure {:.0}",
                view.realised, view.exposure
            )),
        ]),
        Line::from(format!(
            "entries {}   calls left in 10 s: {} ({} for entries), reads in a minute: {}   {}",
            view.entries, view.budget.0, view.budget.1, view.reads_left, view.clock
        )),
    ];
    Paragraph::new(lines).block(boxed(&view.title))
}

fn positions(view: &View) -> Table<'_> {
    let rows = view.positions.iter().map(|position| {
        let colour = if position.r >= 0.0 {
            Color::Green
        } else {
            Color::Red
        };
        let stop = if position.protected {
            position.stop.clone()
        } else {
            format!("{} !", position.stop)
        };
        Row::new(vec![
            Cell::from(position.symbol.as_str()),
            Cell::from(position.side),
            Cell::from(position.size.as_str()),
            Cell::from(position.entry.as_str()),
            Cell::from(position.mark.as_str()),
            Cell::from(stop),
            Cell::from(position.target.as_str()),
            Cell::from(format!("{:+.2}", position.r)).style(Style::default().fg(colour)),
        ])
    });
    let widths = [
        Constraint::Min(14),
        Constraint::Length(5),
        Constraint::Length(10),
        Constraint::Length(12),
        Constraint::Length(12),
        Constraint::Length(14),
        Constraint::Length(12),
        Constraint::Length(7),
    ];
    Table::new(rows, widths)
        .header(
            Row::new([
                "instrument",
                "side",
                "contracts",
                "entry",
                "mark",
                "stop",
                "target",
                "R",
            ])
            .style(Style::default().add_modifier(Modifier::BOLD)),
        )
        .block(boxed(" positions, each with its stop "))
}

fn stages(view: &View) -> Table<'_> {
    let mut rows: Vec<Row> = view
        .stages
        .iter()
        .map(|(name, stage)| {
            Row::new(vec![
                name.clone(),
                stage.count.to_string(),
                nanoseconds(stage.wait_p50_ns),
                nanoseconds(stage.wait_p99_ns),
                nanoseconds(stage.work_p50_ns),
                nanoseconds(stage.work_p99_ns),
            ])
        })
        .collect();
    let order = &view.tick_to_order;
    rows.push(Row::new(vec![
        "tick to order".to_string(),
        order.count.to_string(),
        format!("p50 {}", nanoseconds(order.p50)),
        format!("p99 {}", nanoseconds(order.p99)),
        format!("max {}", nanoseconds(order.max)),
        String::new(),
    ]));
    let widths = [
        Constraint::Length(14),
        Constraint::Length(12),
        Constraint::Length(14),
        Constraint::Length(14),
        Constraint::Length(14),
        Constraint::Length(14),
    ];
    Table::new(rows, widths)
        .header(
            Row::new(["stage", "inputs", "wait p50", "wait p99", "work p50", "work p99"])
                .style(Style::default().add_modifier(Modifier::BOLD)),
        )
        .block(boxed(" latency "))
}

fn recent(view: &View) -> Paragraph<'_> {
    let from = view.recent.len().saturating_sub(6);
    let lines: Vec<Line> = view.recent[from..]
        .iter()
        .map(|text| Line::from(text.as_str()))
        .collect();
    Paragraph::new(lines).block(boxed(" last events "))
}

/// How often the screen is redrawn, and how often a line is printed where there is no terminal.
const REDRAW_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Lines that stay on the terminal beside the events.
const SAID_MAX: usize = 3;

/// The terminal while a run goes on: redrawn, or a line of text now and then on standard error.
pub struct LiveScreen {
    terminal: Option<DefaultTerminal>,
    shown_at: Option<Instant>,
    /// What was said last, for the terminal.
    said: VecDeque<String>,
}

impl LiveScreen {
    /// Takes the terminal over unless `plain` is set or there is none.
    pub fn open(plain: bool) -> Self {
        let is_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let terminal = if plain || !is_terminal {
            None
        } else {
            ratatui::try_init().ok()
        };
        LiveScreen {
            terminal,
            shown_at: None,
            said: VecDeque::new(),
        }
    }

    /// Says a line to the operator: on standard error, or among the last events of the terminal.
    pub fn say(&mut self, line: &str) {
        if self.terminal.is_none() {
            eprintln!("{line}");
            return;
        }
        if self.said.len() == SAID_MAX {
            self.said.pop_front();
        }
        self.said.push_back(line.to_owned());
    }

    /// Puts what was said last among the last events of `view`.
    pub fn add_said(&self, view: &mut View) {
        view.recent.extend(self.said.iter().cloned());
    }

    /// Whether it is time to show something.
    pub fn is_due(&self) -> bool {
        let every = if self.terminal.is_some() {
            REDRAW_EVERY
        } else {
            LINE_EVERY
        };
        self.shown_at.is_none_or(|shown_at| shown_at.elapsed() >= every)
    }

    /// Shows `view`; true when the person pressed `q`, Esc or Ctrl-C.
    pub fn show(&mut self, view: &View) -> bool {
        self.shown_at = Some(Instant::now());
        match self.terminal.as_mut() {
            None => {
                eprintln!("{}", line(view));
                false
            }
            Some(terminal) => {
                // A terminal that is gone is no reason to stop trading.
                let _ = terminal.draw(|frame| draw(frame, view));
                wants_to_quit()
            }
        }
    }

    /// Gives the terminal back.
    pub fn close(&mut self) {
        if self.terminal.take().is_some() {
            ratatui::restore();
        }
    }
}

impl Drop for LiveScreen {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reads the keys that were pressed. The terminal is in raw mode, so Ctrl-C comes as a key.
fn wants_to_quit() -> bool {
    use ratatui::crossterm::event::{Event, KeyCode, KeyModifiers, poll, read};
    let mut quit = false;
    while poll(Duration::ZERO).unwrap_or(false) {
        if let Ok(Event::Key(key)) = read() {
            let interrupted = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            quit |= interrupted || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc);
        }
    }
    quit
}

/// One line for terminals that cannot be redrawn.
pub fn line(view: &View) -> String {
    let bare_count = view.positions.iter().filter(|row| !row.protected).count();
    let bare = match bare_count {
        0 => String::new(),
        count => format!(" ({count} WITHOUT A STOP)"),
    };
    format!(
        "{} entries {}, positions {}{bare}, exposure {:.0}, equity {:.2}, closed {} tp {} sl, {} orders, {} signals, \
         calls left {} ({} for entries), reads left {}, {} frames, {} candles, tick to order p50 {} p99 {}",
        view.clock,
        view.entries,
        view.positions.len(),
        view.exposure,
        view.equity,
        view.closed.0,
        view.closed.1,
        view.orders,
        view.signals,
        view.budget.0,
        view.budget.1,
        view.reads_left,
        view.frames,
        view.candles,
        nanoseconds(view.tick_to_order.p50),
        nanoseconds(view.tick_to_order.p99)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn the_line_says_whether_entries_are_on_what_is_left_and_what_is_bare() {
        let bare = PositionLine {
            symbol: "ETH-USDT".into(),
            ..PositionLine::default()
        };
        let covered = PositionLine {
            protected: true,
            ..bare.clone()
        };
        let view = View {
            entries: "off (kill_switch)".into(),
            budget: (16, 10),
            reads_left: 337,
            exposure: 149.6,
            equity: 1_000.5,
            positions: vec![covered.clone(), bare, covered.clone()],
            ..View::default()
        };
        let text = line(&view);
        for words in [
            " entries off (kill_switch), positions 3 (1 WITHOUT A STOP), exposure 150, equity 1000.50,",
            " calls left 16 (10 for entries), reads left 337,",
        ] {
            assert!(text.contains(words), "{words:?} is not in {text:?}");
        }
        let view = View {
            entries: "on".into(),
            positions: vec![covered],
            ..View::default()
        };
        let text = line(&view);
        assert!(
            text.contains(" entries on, positions 1, exposure 0,") && !text.contains("STOP"),
            "{text}"
        );
    }

    #[test]
    fn an_unprotected_position_is_marked() {
        let mut terminal = Terminal::new(TestBackend::new(110, 36)).expect("a terminal in memory");
        let position = |symbol: &str, protected| PositionLine {
            symbol: symbol.into(),
            side: "buy",
            stop: "99.5".into(),
            protected,
            ..PositionLine::default()
        };
        let view = View {
            positions: vec![position("BTC-USDT", true), position("ETH-USDT", false)],
            ..View::default()
        };
        terminal.draw(|frame| draw(frame, &view)).expect("a draw");
        let text: String = terminal
            .backend()
            .buffer()
            .content()
            .iter()
            .map(|cell| cell.symbol())
            .collect();
        assert!(text.contains("BTC-USDT") && text.contains("99.5"));
        assert_eq!(text.matches("99.5 !").count(), 1);
    }
}
