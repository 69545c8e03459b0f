//! The engine in memory: bytes of clients and servers in, bytes out, on a clock that only tests put forward.

mod differences;
mod discovery;
mod endings;
mod framing;
mod lab;
mod limits;
mod responses;
mod retries;
mod table;
mod waits;
