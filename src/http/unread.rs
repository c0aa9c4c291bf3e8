//! Whether a request's body was read to its end.
//!
//! A connection on which part of a body is left cannot carry another request, so it is closed after the
//! answer. A client that is not told sends its next request into a connection that is just closing, and
//! gets no answer to it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::http::{HeaderValue, Request, Response, header};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A body that remembers whether it was read to its end.
#[derive(Debug)]
pub struct Observed {
    body: Incoming,
    is_read: Arc<AtomicBool>,
}

/// Tells, once there is an answer, whether the connection can go on.
#[derive(Debug)]
pub struct Ending(Arc<AtomicBool>);

impl Observed {
    /// Observes the body of a request.
    pub fn of(request: Request<Incoming>) -> (Request<Self>, Ending) {
        let is_read = Arc::new(AtomicBool::new(request.body().is_end_stream()));
        let ending = Ending(Arc::clone(&is_read));
        (request.map(|body| Self { body, is_read }), ending)
    }
}

impl Ending {
    /// Says in the answer that the connection ends, if it does.
    pub fn announce<B>(&self, answer: &mut Response<B>) {
        if !self.0.load(Ordering::Acquire) {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(header::CONNECTION, close);
        }
    }
}

impl Body for Observed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.is_read.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
