//! The paths between two Keyswap processes and two PostgreSQL servers, which a test can cut.

use super::{
    link::{Cut, Link},
    network_namespaces::{Member, Namespaces},
    server::PostgresServer,
};

pub enum Network {
    /// Every path is a proxy of its own on this machine.
    Links {
        /// By process and server.
        database: Box<[[Link; 2]; 2]>,
        /// The path of the other server to this one.
        replication: [Link; 2],
    },
    Namespaces(Namespaces),
}

impl Network {
    /// Starts a primary and its standby.
    pub fn start_servers(namespaces: Option<Namespaces>) -> (Self, [PostgresServer; 2]) {
        if let Some(namespaces) = namespaces {
            let [mut first, mut second] = [0, 1].map(|number| {
                let member = Member::Server(number);
                PostgresServer::new(&namespaces.address(member), Some(&namespaces.name(member)))
            });
            first.initialize();
            second.follow(&first, (first.host.as_str(), first.port));
            return (Self::Namespaces(namespaces), [first, second]);
        }
        let [mut first, mut second] = [(); 2].map(|()| PostgresServer::new("127.0.0.1", None));
        first.initialize();
        let to_first = Link::to(first.port);
        second.follow(&first, ("127.0.0.1", to_first.port));
        let replication = [to_first, Link::to(second.port)];
        let database = Box::new([(); 2].map(|()| [Link::to(first.port), Link::to(second.port)]));
        (Self::Links { database, replication }, [first, second])
    }

    /// Where the other server finds a server.
    pub fn replication_address(&self, server: &PostgresServer, number: usize) -> (String, u16) {
        match self {
            Self::Links { replication, .. } => ("127.0.0.1".to_owned(), replication[number].port),
            Self::Namespaces(_) => (server.host.clone(), server.port),
        }
    }

    /// The URL of both servers for a process.
    pub fn database_url(&self, process: usize, servers: &[PostgresServer; 2]) -> String {
        let [first, second] = match self {
            Self::Links { database, .. } => database[process].each_ref().map(|link| format!("127.0.0.1:{}", link.port)),
            Self::Namespaces(_) => servers.each_ref().map(|server| format!("{}:{}", server.host, server.port)),
        };
        format!("postgres://keyswap@{first},{second}/postgres")
    }

    /// The namespace and the address of a process.
    pub fn process(&self, process: usize) -> (Option<String>, String) {
        match self {
            Self::Links { .. } => (None, "127.0.0.1".to_owned()),
            Self::Namespaces(namespaces) => {
                let member = Member::Process(process);
                (Some(namespaces.name(member)), namespaces.address(member))
            }
        }
    }

    /// Leaves process 0 with `old` alone, and the other process with the other server. `cut` says
    /// what `old` can still exchange with the others.
    pub fn isolate(&self, old: usize, cut: Cut) {
        let new = 1 - old;
        match self {
            Self::Links { database, replication } => {
                database[0][new].cut(Cut::Both);
                database[1][old].cut(cut);
                replication[old].cut(cut);
            }
            Self::Namespaces(namespaces) => {
                namespaces.cut(Member::Process(0), Member::Server(new), Cut::Both);
                namespaces.cut(Member::Server(old), Member::Process(1), cut);
                namespaces.cut(Member::Server(old), Member::Server(new), cut);
            }
        }
    }

    pub fn restore(&self) {
        match self {
            Self::Links { database, replication } => {
                database.iter().flatten().chain(replication).for_each(|link| link.cut(Cut::Nothing));
            }
            Self::Namespaces(namespaces) => namespaces.restore(),
        }
    }
}
