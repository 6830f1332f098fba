//! A session carried on to another TCP service.

use super::End;
use crate::dial;
use crate::relay::{Far, Stop, ended, relay, reset_unless_ended};
use crate::serve::proxy;
use crate::serve::visit::Visit;
use countersign::Stream;
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Where sessions go.
pub(crate) struct Forward {
    pub(crate) address: String,
    pub(crate) send_proxy: bool,
}

/// How long connecting may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Forward {
    pub(super) async fn run(&self, mut stream: Stream<TcpStream>, visit: &Visit, stop: &Stop) -> End {
        let connected = tokio::select! {
            connected = self.connect(visit) => connected,
            () = stop.stopped() => Err(io::ErrorKind::Interrupted.into()),
        };
        let mut target = match connected {
            Ok(target) => target,
            Err(_) if stop.is_stopping() => return End::stopping(),
            // Without a close: nothing has been said, and the client is not to take that for everything.
            Err(error) => {
                return End::new("target-unreachable", format!("cannot connect to {}: {error}", self.address));
            }
        };
        let (mut reader, mut writer) = target.split();
        let relayed = relay(&mut stream, Far::new(&mut reader, &mut writer), stop).await;
        if relayed.is_ok() {
            ended(&target);
        }
        End::of(relayed, &self.address)
    }

    async fn connect(&self, visit: &Visit) -> io::Result<TcpStream> {
        let end = dial::end(CONNECT_TIMEOUT);
        let addresses = dial::look_up(&self.address, end).await?;
        let mut target = dial::connect(&addresses, end).await?;
        // Closing it would tell it that it has got everything.
        reset_unless_ended(&target);
        if self.send_proxy {
            // It fits into what the system sends by itself.
            target.write_all(&proxy::header(visit)?).await?;
        }
        Ok(target)
    }
}
