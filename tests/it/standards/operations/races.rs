//! Preconditions hold against requests at the same time: they are evaluated with the object locked.

use futures_util::future::join_all;
use reqwest::Method;

use super::{Differences, current, operations, over_operations, subjects::Subject, with_lines};

over_operations! {
    async fn of_changes_at_once_one_meets_its_precondition(server: Server) {
        let mut differences = Differences::default();
        let replica = server.replica().await;
        let all = operations(&server).await;
        for operation in all.iter().filter(|one| one.names_object() && one.has_header("If-Match")) {
            let subject = Subject::new(&server, operation).await;
            let is_put = operation.method == Method::PUT;
            let existing = current(&server, &subject).await.map(|(_, tag)| tag);
            let mut tries = Vec::new();
            // Sessions have no version, so `*` is met by each of them.
            if let Some(tag) = existing {
                tries.push(("if-match", tag, subject));
            }
            if is_put {
                tries.push(("if-none-match", "*".to_owned(), Subject::new(&server, operation).await.of_absent()));
            }
            for (name, value, subject) in tries {
                let line = [(name, value.as_str())];
                let at_once = (0..6).map(|at| {
                    let server = if at % 2 == 0 { &server } else { &replica };
                    with_lines(subject.request(server), &line).send()
                });
                let answers = join_all(at_once).await;
                let statuses: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().status().as_u16()).collect();
                let made = statuses.iter().filter(|status| **status < 300).count();
                differences.check(operation, &format!("{name} {value}: {statuses:?}"), "1", &made.to_string());
                let others = statuses.iter().filter(|status| ![200, 201, 204, 404, 409, 412].contains(*status)).count();
                differences.check(operation, &format!("{name} {value}: {statuses:?}"), "0", &others.to_string());
            }
        }
        differences.assert_none(60);
    }
}
