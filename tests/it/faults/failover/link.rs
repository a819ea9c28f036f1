//! A TCP connection path to a PostgreSQL server that a test can cut, in one direction or in both.

use std::{
    io::{self, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::faults::{
    cluster::pass,
    protocol_faults::messages::{error_response, read_startup},
};

/// What a path does not forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Nothing,
    /// Requests arrive and answers do not.
    FromServer,
    Both,
}

/// A path that accepts connections also while it is cut, as the kernel of a server may. A
/// connection that has lost bytes stays dead when the path is restored.
pub struct Link {
    pub port: u16,
    to_server: Arc<AtomicBool>,
    from_server: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    accepts: Option<thread::JoinHandle<()>>,
}

impl Link {
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let [to_server, from_server, ended] = [(); 3].map(|()| Arc::<AtomicBool>::default());
        let flags = [&to_server, &from_server, &ended].map(Arc::clone);
        let accepts = thread::spawn(move || accept(&listener, target, &flags));
        Self { port, to_server, from_server, ended, accepts: Some(accepts) }
    }

    pub fn cut(&self, cut: Cut) {
        self.to_server.store(cut == Cut::Both, Ordering::SeqCst);
        self.from_server.store(cut != Cut::Nothing, Ordering::SeqCst);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Unblocks the accept loop.
        let woken = TcpStream::connect(("127.0.0.1", self.port));
        let joined = self.accepts.take().unwrap().join();
        if !thread::panicking() {
            woken.unwrap();
            joined.unwrap();
        }
    }
}

fn accept(listener: &TcpListener, target: u16, [to_server, from_server, ended]: &[Arc<AtomicBool>; 3]) {
    let mut passing: Vec<thread::JoinHandle<()>> = Vec::new();
    for client in listener.incoming() {
        if ended.load(Ordering::SeqCst) {
            break;
        }
        let client = client.unwrap();
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
            let _ = refuse(client);
            continue;
        };
        passing.retain(|one| !one.is_finished());
        for (from, to, silent) in [(&client, &server, to_server), (&server, &client, from_server)] {
            let flags = [Arc::clone(silent), Arc::default(), Arc::clone(ended)];
            passing.push(pass(from.try_clone().unwrap(), to.try_clone().unwrap(), flags));
        }
    }
    for thread in passing {
        thread.join().unwrap();
    }
}

/// Answers for a server that is down. libpq then continues with the next host, as it does after a
/// refused connection.
fn refuse(mut client: TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(1)))?;
    read_startup(&mut client)?;
    client.write_all(&error_response("FATAL", "57P03", "the database system is not available"))
}
