//! memcached, RabbitMQ and Kafka, which are only greeted; the last two as a stranger's script,
//! since their first words are all that is asked for.

use support::{Memcached, free_port};

use crate::{App, doctor, scripted::Scripted};

#[test]
fn a_greeting_is_an_answer_and_silence_is_not() {
    let app = App::failing();
    let start = b"\x01\0\0\0\0\0\x24\0\x0a\0\x0a\0\x09\0\0\0\x18\x07productS\0\0\0\x08RabbitMQ\0\0\0\0\0\0\0\xce";
    let amqp = Scripted::start(start);
    let kafka = Scripted::start(b"\0\0\0\x0a\0\0\x05\x03\0\0\0\0\0\0");
    let told = doctor(&[
        &app.url(),
        "--amqp",
        &amqp.place(),
        "--kafka",
        &kafka.place(),
    ]);
    told.is_silent_on(&["rabbit.", "kafka.", "dep."]);
    told.sees("server", "reached", "rabbitmq")
        .sees("server", "reached", "kafka");

    let silent = Scripted::start(b"");
    let told = doctor(&[&app.url(), "--amqp", &silent.place()]);
    told.sees("server", "reached", "silent");

    let closed = format!("127.0.0.1:{}", free_port());
    doctor(&[&app.url(), "--kafka", &closed]).names("kafka.down");
    doctor(&[&app.url(), "--memcached", &closed]).names("memcached.down");
}

#[test]
fn memcached_that_is_well_is_told_from_one_that_hangs() {
    let (app, memcached) = (App::failing(), Memcached::start());
    let place = format!("127.0.0.1:{}", memcached.port());
    let told = doctor(&[&app.url(), "--memcached", &place]);
    told.is_silent_on(&["memcached.", "dep."])
        .sees("server", "reached", "answers");
    memcached.pause();
    doctor(&[&app.url(), "--memcached", &place]).sees("server", "stopped", "memcached");
}

#[test]
fn hostile_servers_end_a_run_in_time_and_accuse_nobody() {
    let app = App::well();
    let endless = Scripted::endless(b"+x");
    let place = endless.place();
    let (pg, redis) = (
        format!("postgres://u:p@{place}/d"),
        format!("redis://{place}"),
    );
    let mysql = format!("mysql://u:p@{place}/d");
    let told = doctor(&[
        &app.url(),
        "--pg",
        &pg,
        "--redis",
        &redis,
        "--mysql",
        &mysql,
        "--memcached",
        &place,
        "--amqp",
        &place,
        "--kafka",
        &place,
    ]);
    told.sees("server", "reached", "not_this_kind");
}
