//! The page's forms. An order asks for the token itself: a browser that is signed in has
//! shown only that somebody may look.

use maud::{Markup, html};

use crate::probe::operator::view::View;

pub(super) fn sign_in(home: &str, fault: Option<&str>, possible: bool) -> Markup {
    html! {
        section id="sign-in" aria-labelledby="sign-in-h" {
            h1 id="sign-in-h" { "Sign in to why503" }
            @if let Some(fault) = fault { p.error role="alert" { (fault) } }
            @if possible {
                form.card method="post" action=(home) {
                    label for="sign-in-token" { "The operator's token" }
                    input id="sign-in-token" name="token" type="password" autocomplete="current-password" required autofocus;
                    button type="submit" { "Sign in" }
                    p.small { "It stays in this browser for 12 hours, as a cookie that gives no orders." }
                }
            } @else {
                p { "No token is set for this service, so nobody can sign in. Set one with " code { "operator.token" } "." }
            }
        }
    }
}

pub(super) fn sign_out(home: &str) -> Markup {
    html! {
        form.plain method="post" action=(format!("{home}sign-out")) {
            button.quiet type="submit" { "Sign out" }
        }
    }
}

pub(super) fn look_up(home: &str) -> Markup {
    html! {
        section id="find" aria-labelledby="find-h" {
            h2 id="find-h" { "Look up one refusal" }
            form.row method="get" action=(format!("{home}find")) role="search" {
                label for="find-id" { "Its id, the request's id or the trace's" }
                input id="find-id" name="id" type="text" maxlength="128" spellcheck="false" autocomplete="off" required;
                button type="submit" { "Look up" }
            }
        }
    }
}

pub(super) fn orders(view: &View, home: &str) -> Markup {
    let leaving = !matches!(view.phase, "not started" | "starting" | "ready");
    html! {
        section id="orders" aria-labelledby="orders-h" {
            h2 id="orders-h" { "Orders" }
            p.small { "Each needs the token typed; being signed in is not enough." }
            div.grid {
                form.card method="post" action=(format!("{home}maintenance")) {
                    h3 { "Maintenance" }
                    @if let Some(on) = &view.maintenance {
                        p { "It is on since " (super::times::moment(&on.since)) ": " (on.reason) }
                    } @else {
                        p { "It is off. While it is on, every request is refused and readiness says no." }
                    }
                    label for="maintenance-reason" { "Reason" }
                    input id="maintenance-reason" name="reason" type="text" maxlength="200" autocomplete="off";
                    label for="maintenance-for" { "Ends by itself after, for example 10m (may be empty)" }
                    input id="maintenance-for" name="for" type="text" maxlength="16" autocomplete="off" pattern="[0-9.]+(ms|s|m|h)";
                    label for="maintenance-token" { "Token" }
                    input id="maintenance-token" name="token" type="password" autocomplete="off" required;
                    div.buttons {
                        button type="submit" name="order" value="begin" { "Begin maintenance" }
                        button.quiet type="submit" name="order" value="end" { "End maintenance" }
                    }
                }
                form.card method="post" action=(format!("{home}drain")) {
                    h3 { "Drain" }
                    @if leaving {
                        p { "This process is leaving; that cannot be taken back." }
                    } @else {
                        p { "The process finishes what runs and ends. That cannot be taken back." }
                    }
                    label for="drain-token" { "Token" }
                    input id="drain-token" name="token" type="password" autocomplete="off" required;
                    div.buttons { button.danger type="submit" { "Drain this instance" } }
                }
            }
        }
    }
}
