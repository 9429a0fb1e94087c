//! Orders: inventory, payment, database, within one budget, once for each key, and undone if it fails half-way.
//!
//! ```text
//! place ─▶ key: under way? ─▶ answered before? ─▶ intent ─▶ reserve ─▶ charge ─▶ store order, answer, end of intent
//!            └ wait, share     └ replay                          └─────────┴── on failure or crash: undone ──┘
//! ```
//!
//! Neighbours: `api/shop.rs` asks, `resilience/idempotency.rs` knows what is under way, `store.rs` what was answered,
//! `resilience/compensation.rs` undoes. Invariant: a stored answer is final; an answer that may change (5xx) is never stored.

use crate::{
    api::answer::Answer,
    dependency::{
        inventory::Reservation,
        payment::{Charge, Charged},
    },
    error::RequestError,
    failure::CallError,
    metrics::Metrics,
    resilience::{
        compensation::{Compensation, Saga},
        idempotency::{self, Claim, InFlight},
        migrations::Migrations,
        timeout_budget::{Deadline, OrderShares},
    },
    store::{self, KeyedAnswer, NewOrder, Order, Product, Store, StoreError},
    upstream::{Call, Upstream},
};
use axum::http::StatusCode;
use serde::{Deserialize, de::IgnoredAny};
use std::sync::Arc;
use uuid::Uuid;

/// The most pieces in one order.
const MOST_PIECES: i64 = 1000;

/// The body of `POST /orders`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderRequest {
    pub(crate) product: i64,
    #[serde(default = "one")]
    pub(crate) quantity: i64,
}

fn one() -> i64 {
    1
}

impl OrderRequest {
    fn fingerprint(&self) -> String {
        format!("{}x{}", self.product, self.quantity)
    }
}

/// What orders are made with.
pub(crate) struct Orders {
    pub(crate) store: Arc<Store>,
    pub(crate) inventory: Arc<Upstream>,
    pub(crate) payment: Arc<Upstream>,
    pub(crate) compensation: Compensation,
    pub(crate) migrations: Migrations,
    pub(crate) shares: OrderShares,
    /// Absent when the pattern is switched off.
    pub(crate) in_flight: Option<InFlight<Answer>>,
    pub(crate) metrics: Arc<Metrics>,
}

/// A key with the order that it stands for.
#[derive(Clone, Copy)]
struct Keyed<'a> {
    key: &'a str,
    fingerprint: &'a str,
}

impl Keyed<'_> {
    fn answer(&self, status: StatusCode, body: String) -> KeyedAnswer {
        let (key, fingerprint) = (self.key.to_owned(), self.fingerprint.to_owned());
        KeyedAnswer { key, fingerprint, status: i64::from(status.as_u16()), body }
    }
}

impl Orders {
    /// Places an order; the same key gives the same answer.
    pub(crate) async fn place(&self, key: Option<&str>, request: OrderRequest, deadline: Deadline) -> Answer {
        if !(1..=MOST_PIECES).contains(&request.quantity) {
            let message = format!("`quantity` is {}: order 1 to {MOST_PIECES} pieces", request.quantity);
            return RequestError::Invalid(message).into();
        }
        match &self.in_flight {
            None => self.attempt(None, request, deadline).await.unwrap_or_else(Answer::from),
            Some(in_flight) => match key {
                Some(key) if idempotency::is_valid_key(key) => self.once(in_flight, key, request, deadline).await,
                Some(_) => RequestError::Invalid("`Idempotency-Key` is 1 to 128 visible characters".into()).into(),
                None => RequestError::NoKey.into(),
            },
        }
    }

    async fn once(&self, in_flight: &InFlight<Answer>, key: &str, request: OrderRequest, deadline: Deadline) -> Answer {
        let fingerprint = &request.fingerprint();
        match in_flight.claim(key, fingerprint) {
            Claim::OtherBody => RequestError::KeyReused.into(),
            Claim::Follow(answer) => {
                self.metrics.idempotency("joined");
                let answer = deadline.run(idempotency::follow(answer)).await.ok().flatten();
                answer.map_or_else(|| RequestError::KeyBusy.into(), Answer::replayed)
            }
            Claim::Lead(lead) => {
                let keyed = Keyed { key, fingerprint };
                let answer = self.lead(keyed, request, deadline).await.unwrap_or_else(Answer::from);
                lead.finish(answer.clone());
                answer
            }
        }
    }

    async fn lead(&self, keyed: Keyed<'_>, request: OrderRequest, deadline: Deadline) -> Result<Answer, RequestError> {
        if let Some(answer) = self.answered(keyed, deadline).await? {
            return Ok(answer);
        }
        self.metrics.idempotency("new");
        match self.attempt(Some(keyed), request, deadline).await {
            // Another process was quicker; its answer counts, and ours was undone.
            Err(RequestError::Store(StoreError::KeyTaken)) => {
                self.answered(keyed, deadline).await?.ok_or(RequestError::KeyBusy)
            }
            Err(error @ (RequestError::SoldOut | RequestError::Declined)) => {
                let answer = Answer::from(error);
                let stored = keyed.answer(answer.status, answer.body.clone());
                match deadline.run(self.store.insert_answer(&stored)).await.map_err(|_| RequestError::Late)? {
                    Err(StoreError::KeyTaken) => self.answered(keyed, deadline).await?.ok_or(RequestError::KeyBusy),
                    Err(error) => Err(error.into()),
                    Ok(()) => Ok(answer),
                }
            }
            result => result,
        }
    }

    /// The answer that was given to this key before, if any.
    async fn answered(&self, keyed: Keyed<'_>, deadline: Deadline) -> Result<Option<Answer>, RequestError> {
        let deadline = deadline.tightened(self.shares.database);
        let stored = deadline.run(self.store.answer(keyed.key)).await.map_err(|_| RequestError::Late)??;
        match stored {
            None => Ok(None),
            Some(stored) if stored.fingerprint != keyed.fingerprint => Err(RequestError::KeyReused),
            Some(stored) => {
                self.metrics.idempotency("replayed");
                let status = u16::try_from(stored.status).ok().and_then(|code| StatusCode::from_u16(code).ok());
                Ok(Some(Answer::json(status.unwrap_or(StatusCode::OK), stored.body).replayed()))
            }
        }
    }

    async fn attempt(
        &self,
        keyed: Option<Keyed<'_>>,
        request: OrderRequest,
        deadline: Deadline,
    ) -> Result<Answer, RequestError> {
        let database = deadline.tightened(self.shares.database);
        let product = database.run(self.store.product(request.product)).await.map_err(|_| RequestError::Late)??;
        let product =
            product.ok_or_else(|| RequestError::NotFound(format!("there is no product {}", request.product)))?;
        // What the last step would refuse at once is not begun.
        if let Some(error) = self.payment.refuses() {
            return Err(error.into());
        }
        let id = Uuid::now_v7().to_string();
        let begun = deadline.tightened(self.shares.database).run(self.compensation.begin(&id, deadline)).await;
        let mut saga = begun.map_err(|_| RequestError::Late)??;
        self.reserve(&id, request, &mut saga, deadline).await?;
        let order = self.charge(id, request, &product, &mut saga, deadline).await?;
        let body = serde_json::to_string(&order).unwrap_or_default();
        let answer = keyed.map(|keyed| keyed.answer(StatusCode::CREATED, body.clone()));
        self.store(&order, answer.as_ref(), &saga, deadline).await?;
        saga.complete();
        Ok(Answer::json(StatusCode::CREATED, body))
    }

    async fn reserve(
        &self,
        id: &str,
        request: OrderRequest,
        saga: &mut Saga,
        deadline: Deadline,
    ) -> Result<(), RequestError> {
        let wanted = Reservation { product: request.product, quantity: request.quantity };
        let call = Call::put(format!("/reservations/{id}"), &wanted).map_err(unwritable)?;
        saga.stock(true);
        let result = self.inventory.call::<IgnoredAny>(call, deadline.tightened(self.shares.inventory)).await;
        result.map(|_| ()).map_err(|error| {
            saga.stock(error.may_have_happened());
            if is_status(&error, StatusCode::CONFLICT) { RequestError::SoldOut } else { error.into() }
        })
    }

    async fn charge(
        &self,
        id: String,
        request: OrderRequest,
        product: &Product,
        saga: &mut Saga,
        deadline: Deadline,
    ) -> Result<Order, RequestError> {
        let unit_cents = product.price_cents;
        let total_cents = unit_cents * request.quantity;
        let call = Call::put(format!("/charges/{id}"), &Charge { amount_cents: total_cents }).map_err(unwritable)?;
        saga.charge(true);
        let result = self.payment.call::<Charged>(call, deadline.tightened(self.shares.payment)).await;
        let Charged { charge, .. } = result.map_err(|error| {
            saga.charge(error.may_have_happened());
            if is_status(&error, StatusCode::PAYMENT_REQUIRED) { RequestError::Declined } else { error.into() }
        })?;
        let OrderRequest { product, quantity } = request;
        Ok(Order {
            id,
            product,
            quantity,
            unit_cents,
            total_cents,
            currency: "EUR".to_owned(),
            charge,
            settled_cents: 0,
            created_at_ms: store::now_ms(),
            migrated: true,
        })
    }

    async fn store(
        &self,
        order: &Order,
        answer: Option<&KeyedAnswer>,
        saga: &Saga,
        deadline: Deadline,
    ) -> Result<(), RequestError> {
        let database = deadline.tightened(self.shares.database);
        let new = NewOrder { order, answer, intended: saga.is_intended() };
        // If this is late the order may be stored or not; its intent in the same transaction knows, and the key's repeat.
        Ok(database.run(self.store.insert_order(new)).await.map_err(|_| RequestError::Late)??)
    }

    /// An order that was placed.
    pub(crate) async fn find(&self, id: &str, deadline: Deadline) -> Result<Order, RequestError> {
        let order = deadline.run(self.store.order(id)).await.map_err(|_| RequestError::Late)??;
        let order = order.ok_or_else(|| RequestError::NotFound("there is no such order".to_owned()))?;
        // The customer does not wait for it longer than for the order itself.
        let _ = deadline.run(self.migrations.on_access(&order)).await;
        Ok(order)
    }
}

fn is_status(error: &CallError, wanted: StatusCode) -> bool {
    matches!(error, CallError::Status { status, .. } if *status == wanted)
}

fn unwritable(error: serde_json::Error) -> RequestError {
    RequestError::Invalid(format!("the order cannot be written as JSON: {error}"))
}
