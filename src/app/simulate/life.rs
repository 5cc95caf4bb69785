//! One process: the whole graph on the stepper, its gate within sight of the checks, and the ends of
//! the links over which alerts reach it.
//!
//! Dropping it is its death: what it wrote to its snapshot and to its connections stays.

use super::draw::Draw;
use super::plant::{Plant, Planted};
use super::wire::{Carries, WatchHandle, WatchedCalls};
use super::world::{HOST, KEY, PASSPHRASE, SECRET, WorldError};
use crate::app::graph::{self, GraphError, Plan, Ports};
use crate::bus::Bus;
use crate::driver::{DecisionClock, Inlet, Outlet, Progress, Seat, Stage, Stepper};
use crate::model::message::{Alert, AlertAnswer};
use crate::model::{Instruments, Wall};
use crate::settings::Settings;
use crate::stage::gate::{ControlWord, GateStage};
use crate::sys::clock::{self, Stamp};
use crate::topology::{LinkId, StageId};
use crate::venue::blofin::sign;
use crate::venue::loopback::{InProcessCalls, InProcessFrames, SharedVenue};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The gate, seated and looked at.
pub struct SeatedGate(Arc<Mutex<GateStage>>);

impl SeatedGate {
    pub fn lock(&self) -> MutexGuard<'_, GateStage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage for SeatedGate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn poll(&mut self, now: Wall) -> Progress {
        self.lock().poll(now)
    }

    fn has_input(&self) -> bool {
        self.lock().has_input()
    }

    fn next_timer(&self) -> Option<Wall> {
        self.lock().next_timer()
    }
}

/// What a process is started with.
pub struct Birth<'a> {
    pub draw: &'a Draw,
    pub plant: Option<Plant>,
    pub settings: &'a Settings,
    pub shared: &'a SharedVenue,
    pub instruments: &'a Arc<Instruments>,
    pub clock: &'a DecisionClock,
    pub watch: &'a WatchHandle,
    pub intents: &'a Path,
    /// Number of the process, from 1.
    pub epoch: u32,
    pub control: ControlWord,
}

/// One process.
pub struct Life {
    pub bus: Bus,
    pub stepper: Stepper,
    pub gate: SeatedGate,
    pub control: ControlWord,
    pub alerts: Outlet<Alert>,
    pub answers: Inlet<AlertAnswer>,
}

impl Life {
    /// Starts a process.
    pub fn begin(birth: Birth<'_>) -> Result<Life, WorldError> {
        let bus = graph::plan_bus("simulate", Stamp::stepped())
            .heap()
            .map_err(GraphError::Bus)?;
        let plan = Plan {
            settings: birth.settings,
            instruments: Arc::clone(birth.instruments),
            ranking: birth.instruments.iter().map(|(id, _)| id).collect(),
            credentials: sign::Credentials {
                key: KEY.to_string(),
                secret: SECRET.to_string(),
                passphrase: PASSPHRASE.to_string(),
            },
            host: HOST.to_string(),
            epoch: birth.epoch,
            seed: birth.draw.seed.wrapping_add(u64::from(birth.epoch)),
            taping: Default::default(),
            metrics_path: None,
            seen: Default::default(),
            control: Arc::clone(&birth.control),
            tick_digest: None,
            paper: None,
            table: None,
            intents: Some(birth.intents.to_path_buf()),
            start: birth.clock.now(),
            scan: true,
            // The gate listens; lines about alerts are the gateway's, which has no part in this.
            alerts: Some(crossbeam::channel::never()),
            source: crate::stage::decode::CandleSource::Socket,
            learned: Default::default(),
            outside: Default::default(),
        };
        let mut seats = graph::build_around_gate(&bus, &plan, ports(&birth))?;
        let gate = Arc::new(Mutex::new(graph::build_gate(&bus, &plan)?));
        let after = seats.iter().position(|seat| seat.id == StageId::Send);
        seats.insert(
            after.unwrap_or(seats.len()),
            Seat {
                id: StageId::Gate,
                stage: Box::new(SeatedGate(Arc::clone(&gate))),
            },
        );
        let alerts = bus
            .producer(LinkId::WebhookGate.link().name)
            .map_err(GraphError::Bus)?;
        let answers = bus
            .consumer(LinkId::GateWebhook.link().name)
            .map_err(GraphError::Bus)?;
        Ok(Life {
            alerts: Outlet::new(alerts, Stamp::stepped()),
            answers: Inlet::new(answers),
            bus,
            stepper: Stepper::new(seats, birth.clock.clone()),
            gate: SeatedGate(gate),
            control: birth.control,
        })
    }
}

fn ports(birth: &Birth<'_>) -> Ports {
    let frames = || Box::new(InProcessFrames::new(birth.shared.clone(), clock::stepped_ns));
    let calls = |carries| {
        let inner = InProcessCalls::new(birth.shared.clone(), clock::stepped_ns);
        let plant = birth.plant.filter(|_| carries == Carries::Orders);
        let planted = Planted::new(inner, plant, SECRET);
        let instruments = Arc::clone(birth.instruments);
        Box::new(WatchedCalls::new(
            planted,
            Arc::clone(birth.watch),
            carries,
            instruments,
        ))
    };
    Ports {
        market: Some(frames()),
        account: frames(),
        orders: calls(Carries::Orders),
        reads: calls(Carries::Reads),
    }
}
