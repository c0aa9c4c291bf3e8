//! photog: a self-hosted AI-portrait studio in one program.
//!
//! # Bird's-eye view
//!
//! A client puts a request into the input queue of a service and later finds the result in the
//! service's sink queue, both over HTTP with the protocol of Alibaba's EAS queue service. Inside
//! this process, slots take entries from the input queues, an engine works on each, and the result
//! goes into the sink in the same transaction in which the request leaves the input queue.
//!
//! ```text
//!   client                                                          client
//!     | put                                                get, watch ^
//!     v                                                               |
//!   http -----> queue: input  --- push --->  slot  --- finish ---> queue: sink
//!                 |                           | engine.run
//!                 | counts                    v
//!               scheduler::decide          pipeline -----> fetch, imaging, models
//!                 | start, drain, stop
//!                 v
//!               workers (pool of slots)
//! ```
//!
//! Everything that must survive lies in one SQLite file and a folder of large payloads. Everything
//! else (slots, links of watching clients, progress) is made anew at each start.
//!
//! # Code map
//!
//! From the bottom to the top; each module's own page says what it promises.
//!
//! - [`domain`]: plain types that all share: a service with everything decided, tags, problem codes.
//! - [`job`]: what a running job may ask of its surroundings: stop, finish early, deadline, progress.
//! - [`observe`]: metrics, the log, messages to the service manager.
//! - [`store`]: the data folder, whole-or-absent files, and the folders in which requests may name
//!   files.
//! - [`people`]: trained persons on disk, and the places where they are trained.
//! - [`queue`]: durable queues and the list of jobs.
//! - [`pack`]: networks that are built into the program, with people to try them on.
//! - [`imaging`]: from the bytes of a file to upright RGB pixels.
//! - [`fetch`]: from the address of a picture to its bytes, with a guard around private networks.
//! - [`models`]: which networks there are, and how they run: faces from ONNX files, pictures from the
//!   files of Stable Diffusion; and how the latter learn a LoRA.
//! - [`services`]: EAS service JSON in, a checked [`domain::ServiceSpec`] out.
//! - [`scheduler`]: how many slots each service should have, as a pure function.
//! - [`pipeline`]: what a job does, from the check of photos to the training of a person; one engine per
//!   role.
//! - [`workers`]: the slots, and the loop that carries out what `scheduler` decides.
//! - [`config`]: default < file < environment < flag.
//! - [`http`]: addresses, tokens, wire forms, WebSocket.
//! - [`demo`]: the main job from end to end on the people of a pack, as a client of the appliance.
//! - [`cli`]: one file per command.
//!
//! # Architecture invariants
//!
//! 1. A reply that says "accepted" is sent only after the commit has reached the disk.
//! 2. Every accepted entry of a service with an engine ends in exactly one sink entry, or in its
//!    ticket if it was put with one, unless its engine answers with nothing or the caller deletes it.
//! 3. The scheduler never stops a busy slot. The ways out of *busy* are: done, failed, cancelled by
//!    the user, past `keepalive`, end of the process.
//! 4. [`scheduler::decide`] reads no clock and does no I/O, so any decision can be replayed.
//! 5. Rows never leave `queue`; wire forms never leave `http`; an engine knows neither.
//! 6. Nothing is unbounded: bodies, heads, pixels, queue bytes, deliveries, connections, retention.
//! 7. What is missing (a model, a device) costs the jobs that need it and never the start.
//! 8. No picture, token or name of a person is in the log.
//!
//! # Who may use whom
//!
//! A module uses exactly the modules named in its row, and these stand in rows above it, so there
//! are no cycles. A new arrow is rare and has to be argued for.
//!
//! | module | uses | does not know |
//! | --- | --- | --- |
//! | `domain` | nothing | I/O, clocks, wire forms |
//! | `job` | nothing | queues, engines, slots |
//! | `observe` | nothing | what the numbers mean |
//! | `store` | `domain` | SQL, HTTP, what files mean |
//! | `people` | `domain`, `store` | how a person is trained, HTTP |
//! | `queue` | `domain`, `observe` | HTTP, payloads, how many slots there are |
//! | `pack` | nothing | what files mean, when networks come from it |
//! | `imaging` | nothing | files, addresses, what a picture shows |
//! | `fetch` | `domain`, `job`, `store`, `imaging` | what a picture is for |
//! | `models` | `store`, `pack`, `imaging` | jobs, requests, HTTP |
//! | `services` | `domain` | I/O, the machine beyond the numbers it is given |
//! | `scheduler` | `domain` | threads, I/O, clocks, payloads |
//! | `pipeline` | `domain`, `job`, `store`, `people`, `pack`, `imaging`, `fetch`, `models` | queues, HTTP, the slot it runs in |
//! | `workers` | `domain`, `job`, `observe`, `store`, `people`, `queue`, `fetch`, `models`, `scheduler`, `pipeline` | HTTP |
//! | `config` | `domain`, `store`, `pack`, `queue`, `fetch` | what the settings are used for |
//! | `http` | `domain`, `observe`, `store`, `people`, `queue`, `models`, `services`, `scheduler`, `pipeline`, `workers` | SQL, pixels |
//! | `demo` | `domain`, `job`, `store`, `people`, `pack`, `imaging`, `models`, `pipeline` | the inside of the appliance, the command line |
//! | `cli` | everything | |
//!
//! Some libraries are known to one place only, so that they can be exchanged there:
//!
//! | library | known to |
//! | --- | --- |
//! | `rusqlite` | `queue` |
//! | `rust_embed` | `pack` |
//! | `axum`, `hyper`, `hyper_util`, `utoipa` | `http` |
//! | `prost` | `http`, `models` |
//! | `burn` | `models` |
//! | `pulp` | `imaging`, `models` |
//! | `image`, `png` | `imaging` |
//! | `memmap2`, `half` | `models` |
//! | `regex`, `icu_normalizer`, `instant_clip_tokenizer` | `models` |
//! | `ureq` | `fetch`, `demo` |
//! | `toml` | `pack`, `config`, `models` |
//! | `indicatif` | `cli` |
//! | `prometheus_client` | `observe`, `http` |
//! | `tracing_subscriber`, `sd_notify` | `observe` |
//! | `anyhow`, `clap_complete` | `cli` |
//! | `clap` | `cli`, `main` |
//!
//! `tests/tidy.rs` reads both tables from this page and holds the sources against them.
//!
//! # Threads
//!
//! | thread | owns | talks by |
//! | --- | --- | --- |
//! | `photog-io` (a few) | connections, the scheduler's loop, timers | never blocks |
//! | `queue-writer` (one) | the read-write connection, the state of all queues | a bounded channel of commands, one reply each |
//! | blocking pool of the runtime | reading and writing of payload files; the client that `photog demo` is | ends with its task |
//! | `slot-N` (one per slot) | its engine and the job in hand; networks are shared by all | pushes from the writer, `finish` to it |
//! | `fetch` (a few per fetch) | one download at a time | joined before the fetch returns |
//! | `signals` (one, in `photog models pull`) | nothing | asks the fetch to stop |
//!
//! The state that decides who gets what belongs to `queue-writer` alone. Locks guard short sections
//! and are never held across an await.
//!
//! A stop (SIGTERM, SIGINT) goes from the outside in: puts are refused, idle slots go, busy ones
//! finish, connections are closed, the writer ends last. A process that dies instead loses nothing
//! that was acknowledged: the next start finds entries that were in hand and hands them out again,
//! or ends them as `INTERRUPTED` when they have no delivery left.
//!
//! # Errors
//!
//! Each module has one error enum, cut by what the caller can do about it. Texts for people say what
//! happened, what it means and what to do. A request that fails is an answer with a
//! [`domain::Problem`] and no error; only a bug panics, and a panic of an engine costs its job and
//! nothing else. One place maps errors to HTTP statuses; what only the operator should see goes to
//! the log instead. `cli` adds context with `anyhow`, and `main` prints one line.
//!
//! # Testing
//!
//! - Unit tests stand beside the code and are named by the promise that they check.
//! - `tests/scheduler_sim` replays a made-up world against [`scheduler::decide`], from seeds that a
//!   failure prints.
//! - `tests/queue_model` holds random histories of the queue against a naive model, and
//!   `tests/crash` kills the program at random moments and looks for what it had acknowledged.
//! - `tests/cli` runs the program itself; `tests/flows` runs it under the unmodified Python client
//!   of the cloud.
//! - The tests of [`models`] hold each network of Stable Diffusion, each block of it, and whole runs
//!   against diffusers and k-diffusion, both on the CPU's kernels and on Burn's own operations.
//! - `tests/faces` holds what is found in real photos against a reference implementation, and the
//!   tests of [`models`] hold each operator against onnxruntime (`tests/reference`).
//! - `tests/openapi` holds the interface against `assets/openapi.json`, so that a change of it is
//!   seen in review.
//! - `tests/tidy` checks what tools do not: the tables of this page, length of files, words,
//!   licences, and that settings, metrics and addresses are documented.
//!
//! `bash tests/run.sh` runs all of them. Clocks, randomness and engines are injected where tests need
//! to turn them.

pub mod cli;
pub mod config;
pub mod demo;
pub mod domain;
pub mod fetch;
pub mod http;
pub mod imaging;
pub mod job;
pub mod models;
pub mod observe;
pub mod pack;
pub mod people;
pub mod pipeline;
pub mod queue;
pub mod scheduler;
pub mod services;
pub mod store;
pub mod workers;
