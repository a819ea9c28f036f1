//! The baseline: the same HTTP framework with the same options, which returns a fixed
//! body of the same size after one signature with a prepared key, or without a signature. It
//! contains no Keyswap code, so that its cost stays constant while Keyswap changes.

use std::{hint::black_box, process::ExitCode, time::Duration};

use actix_web::{
    App, HttpResponse, HttpServer,
    http::header::{CACHE_CONTROL, PRAGMA},
    web::{self, Bytes, Data},
};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
    },
};
use keyswap::domain::signing::Algorithm;
use rustix::process::{Signal, set_parent_process_death_signal};

/// The first argument that makes this program run as the baseline.
pub const ARGUMENT: &str = "baseline";

/// The sizes of a real response, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The length of the body.
    pub body: usize,
    /// The length of the signing input of the token in the body.
    pub message: usize,
}

/// The arguments of `run`.
pub fn arguments(port: u16, signs: Option<Algorithm>, answer: &Answer) -> [String; 4] {
    let mode = signs.map_or_else(|| "bare".to_owned(), |algorithm| algorithm.to_string());
    [port.to_string(), mode, answer.body.to_string(), answer.message.to_string()]
}

enum Key {
    None,
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

impl Key {
    fn make(algorithm: Option<Algorithm>) -> Self {
        let ecdsa = |of| EcdsaKeyPair::generate(of).expect("an EC key");
        let rsa = || RsaKeyPair::generate(KeySize::Rsa3072).expect("an RSA key");
        match algorithm {
            None => Self::None,
            Some(Algorithm::Es256) => Self::Ecdsa(ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING)),
            Some(Algorithm::Es384) => Self::Ecdsa(ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING)),
            Some(Algorithm::EdDsa) => Self::Ed25519(Ed25519KeyPair::generate().expect("an Ed25519 key")),
            Some(Algorithm::Rs256) => Self::Rsa(rsa(), &RSA_PKCS1_SHA256),
            Some(Algorithm::Ps256) => Self::Rsa(rsa(), &RSA_PSS_SHA256),
        }
    }

    fn sign(&self, random: &SystemRandom, message: &[u8]) {
        match self {
            Self::None => {}
            Self::Ecdsa(pair) => drop(black_box(pair.sign(random, message).expect("a signature"))),
            Self::Ed25519(pair) => drop(black_box(pair.sign(message))),
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, random, message, &mut signature).expect("a signature");
                drop(black_box(signature));
            }
        }
    }
}

struct Baseline {
    key: Key,
    random: SystemRandom,
    message: Vec<u8>,
    body: Bytes,
}

async fn exchange(baseline: Data<Baseline>) -> HttpResponse {
    baseline.key.sign(&baseline.random, black_box(&baseline.message));
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((PRAGMA, "no-cache"))
        .content_type("application/json")
        .body(baseline.body.clone())
}

async fn ready() -> HttpResponse {
    HttpResponse::Ok().finish()
}

/// Serves until it receives SIGTERM. The kernel sends SIGTERM when the parent process dies.
pub fn run(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    set_parent_process_death_signal(Some(Signal::TERM)).expect("an end with the parent");
    let mut next = || arguments.next().expect("port, mode, body and message");
    let (port, mode) = (next().parse::<u16>().expect("a port"), next());
    let mut size = || next().parse::<usize>().expect("a size");
    let baseline = Data::new(Baseline {
        body: Bytes::from(vec![b'x'; size()]),
        message: vec![b'x'; size()],
        key: Key::make(mode.parse().ok()),
        random: SystemRandom::new(),
    });
    // The same options and number of workers as in src/http/server.rs.
    let server = move || {
        HttpServer::new(move || {
            App::new()
                .app_data(baseline.clone())
                .route("/readyz", web::get().to(ready))
                .route("/v1/exchange", web::post().to(exchange))
        })
        .client_request_timeout(Duration::from_secs(5))
        .client_disconnect_timeout(Duration::from_secs(2))
        .keep_alive(Duration::from_secs(75))
        .shutdown_timeout(1)
        .bind(("127.0.0.1", port))
    };
    match actix_web::rt::System::new().block_on(async { server()?.run().await }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the baseline does not listen: {error}");
            ExitCode::FAILURE
        }
    }
}
