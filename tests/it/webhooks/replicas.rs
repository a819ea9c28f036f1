//! Several replicas, and interruptions: each event arrives at least once, under a single id.

use std::collections::BTreeMap;

use super::{
    LOOPBACK, LOOPBACK_MANUAL_JOBS, hook, logged, loopback, newest,
    receiver::{Received, Receiver, Reply},
};
use crate::support::Server;

/// Groups the messages by their id.
fn by_id(all: Vec<Received>) -> BTreeMap<String, Vec<Received>> {
    let mut found: BTreeMap<String, Vec<Received>> = BTreeMap::new();
    for one in all {
        found.entry(one.id()).or_default().push(one);
    }
    found
}

loopback! {
    async fn two_replicas_send_each_event_without_overlap(server: Server) {
        let replica = server.replica().await;
        let receiver = Receiver::answering(|place| if place % 5 == 4 { Reply::Status(500) } else { Reply::Slow(200, 20) });
        let hook = hook(&server, &receiver.url, &["permission.created"]).await;
        for number in 0..60 {
            let to = if number % 2 == 0 { &server } else { &replica };
            to.permissions(&[&format!("p{number}")]).await;
        }
        let made: Vec<_> = server.events().await.iter().filter(|event| event["type"] == "permission.created")
            .filter(|event| event["subject"]["id"].as_str().unwrap().starts_with('p') && !event["subject"]["id"].as_str().unwrap().contains(':'))
            .map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(made.len(), 60);
        // Both replicas deliver concurrently. A failed attempt is due again within 40 seconds.
        for _ in 0..8 {
            tokio::join!(server.deliver(), replica.deliver());
            server.advance(40);
        }
        logged(&server, &hook, "all", |found| found.len() == 60 && found.iter().all(|one| one["state"] == "delivered")).await;
        let found = by_id(receiver.all());
        assert_eq!(found.len(), 60, "each event, and nothing else");
        for id in made {
            let attempts = &found[&id];
            let taken = attempts.iter().filter(|one| one.reply != Reply::Status(500)).count();
            assert_eq!(taken, 1, "{id}: one attempt without a crash");
            assert!(attempts.windows(2).all(|pair| pair[0].to <= pair[1].from), "{id}: never two at once");
            assert!(attempts.iter().all(|one| hook.signed(one)));
        }
        replica.stop().await;
    }

    async fn interrupted_delivery_is_repeated_with_the_same_id(server: Server) {
        // This server delivers automatically and is stopped during a delivery.
        let server = Server::on(server.stop().await, &LOOPBACK).await;
        let receiver = Receiver::new(Reply::Hang);
        let hook = hook(&server, &receiver.url, &["permission.created"]).await;
        server.permissions(&["a"]).await;
        receiver.wait(1).await;
        let database = server.stop().await;
        receiver.now(Reply::Status(200));
        let again = Server::on(database, &LOOPBACK_MANUAL_JOBS).await;
        again.deliver().await;
        assert_eq!(receiver.all().len(), 1, "the lease of the killed replica is valid");
        again.advance(61);
        newest(&again, &hook, "delivered", 2).await;
        let all = receiver.all();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].id(), all[1].id());
        assert!(hook.signed(&all[1]));
    }

    async fn events_recorded_while_stopped_are_sent_after_the_start(server: Server) {
        let receiver = Receiver::new(Reply::Status(200));
        let hook = hook(&server, &receiver.url, &["permission.created"]).await;
        let replica = server.replica().await;
        // No job has read the audit log since, and none does before both servers have stopped.
        replica.permissions(&["a", "b", "c"]).await;
        let database = server.stop().await;
        replica.stop().await;
        assert_eq!(receiver.all().len(), 0);
        let again = Server::on(database, &LOOPBACK_MANUAL_JOBS).await;
        logged(&again, &hook, "three", |found| found.len() == 3 && found.iter().all(|one| one["state"] == "delivered")).await;
        assert_eq!(by_id(receiver.all()).len(), 3);
    }
}
