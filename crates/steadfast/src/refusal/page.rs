//! The page that a visitor sees instead of the one that was asked for.
//!
//! It says what a customer needs to know in the visitor's language, tries again by itself
//! where that repeats nothing (a GET), and can be stopped. Without a script there is a link.
//! It names nothing of the inside; an application can put its own in its place
//! ([`super::ExplainSettings::page`]).

use std::{fmt, fmt::Write, sync::Arc, sync::OnceLock, time::Duration};

use http::HeaderValue;
use steadfast_core::{Cause, plumbing::RefusalId};

use super::policy::digest;
use crate::request::language::Language;

/// What a page of the application's own is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PageFor {
    /// Why the request was not served.
    pub cause: Cause,
    /// The refusal's id, which the visitor can quote.
    pub id: RefusalId,
    /// When to come again.
    pub retry_after: Duration,
    /// Whether the page may try again by itself: the request was a GET.
    pub repeats: bool,
    /// The language that the visitor reads, of those that are known here.
    pub language: Language,
}

type Make = dyn Fn(&PageFor) -> String + Send + Sync;

/// A page of the application's own.
#[derive(Clone)]
pub(crate) struct OwnPage(Arc<Make>);

impl OwnPage {
    pub(super) fn new(make: impl Fn(&PageFor) -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(super) fn make(&self, page: &PageFor) -> String {
        (self.0)(page)
    }
}

impl fmt::Debug for OwnPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnPage")
    }
}

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// The policy of the page: its own style and script, and nothing else.
pub(super) fn policy() -> HeaderValue {
    static POLICY: OnceLock<HeaderValue> = OnceLock::new();
    let make = || {
        let (style, script) = (digest(STYLE), digest(SCRIPT));
        let text = format!(
            "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; \
             img-src data:; base-uri 'none'"
        );
        HeaderValue::try_from(text).expect("ASCII")
    };
    POLICY.get_or_init(make).clone()
}

/// Makes the page.
pub(super) fn of(page: &PageFor) -> String {
    let mut out = String::new();
    write(&mut out, page);
    out
}

fn write(out: &mut String, page: &PageFor) {
    let words = words(page.language);
    let (title, text) = words.of(page.cause);
    let seconds = page.retry_after.as_secs() + u64::from(page.retry_after.subsec_nanos() > 0);
    let (tag, id) = (page.language.tag(), page.id);
    // Writing to a String cannot fail. Nothing needs escaping: all of it is ours.
    let _ = write!(
        out,
        "<!doctype html><html lang=\"{tag}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"robots\" content=\"noindex\">\
         <link rel=\"icon\" href=\"data:,\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1><p>{text}</p>"
    );
    let _ = if page.repeats {
        let (before, after) = words.again;
        write!(
            out,
            "<p id=\"again\" data-seconds=\"{seconds}\" hidden>{before}<span>{seconds}</span>{after} \
             <button type=\"button\">{}</button></p><p id=\"now\"><a href=\"\">{}</a></p>",
            words.stop, words.now
        )
    } else {
        let (before, after) = words.later;
        write!(out, "<p>{before}{seconds}{after}</p>")
    };
    let (open, script, close) = match page.repeats {
        true => ("<script>", SCRIPT, "</script>"),
        false => ("", "", ""),
    };
    let _ = writeln!(
        out,
        "<p class=\"id\">{} <code>{id}</code></p></main>{open}{script}{close}</body></html>",
        words.mention
    );
}

/// What the page says, in one language.
struct Words {
    busy: (&'static str, &'static str),
    moment: (&'static str, &'static str),
    maintenance: (&'static str, &'static str),
    part: (&'static str, &'static str),
    /// Around the seconds: it tries again by itself.
    again: (&'static str, &'static str),
    /// Around the seconds: come again.
    later: (&'static str, &'static str),
    stop: &'static str,
    now: &'static str,
    mention: &'static str,
}

impl Words {
    const fn of(&self, cause: Cause) -> (&'static str, &'static str) {
        match cause {
            Cause::Overloaded | Cause::PoolExhausted => self.busy,
            Cause::Starting | Cause::Draining => self.moment,
            Cause::Maintenance => self.maintenance,
            _ => self.part,
        }
    }
}

const fn words(language: Language) -> Words {
    match language {
        Language::German => Words {
            busy: (
                "Gerade ist sehr viel los",
                "So viele Anfragen auf einmal schaffen wir im Moment nicht.",
            ),
            moment: (
                "Gleich geht es weiter",
                "Der Dienst wird gerade neu gestartet.",
            ),
            maintenance: (
                "Wir arbeiten gerade daran",
                "Der Dienst wird gewartet und ist bald wieder da.",
            ),
            part: (
                "Das geht im Moment nicht",
                "Etwas, das diese Seite braucht, ist gerade nicht erreichbar.",
            ),
            again: ("Diese Seite versucht es von selbst wieder in ", " s."),
            later: ("Bitte versuchen Sie es wieder in ", " s."),
            stop: "Nicht von selbst versuchen",
            now: "Jetzt noch einmal versuchen",
            mention: "Wenn Sie um Hilfe bitten, nennen Sie",
        },
        Language::Spanish => Words {
            busy: (
                "Hay mucha demanda en este momento",
                "Ahora mismo no podemos atender tantas solicitudes a la vez.",
            ),
            moment: ("Volvemos en un momento", "El servicio se está reiniciando."),
            maintenance: ("Estamos en mantenimiento", "El servicio volverá pronto."),
            part: (
                "Esto no es posible en este momento",
                "Algo que esta página necesita no está disponible.",
            ),
            again: ("Esta página lo intentará de nuevo en ", " s."),
            later: ("Inténtelo de nuevo en ", " s."),
            stop: "No intentarlo automáticamente",
            now: "Intentarlo ahora",
            mention: "Si pide ayuda, mencione",
        },
        Language::French => Words {
            busy: (
                "Il y a beaucoup de monde en ce moment",
                "Nous ne pouvons pas traiter autant de demandes à la fois.",
            ),
            moment: ("De retour dans un instant", "Le service redémarre."),
            maintenance: ("Maintenance en cours", "Le service sera bientôt de retour."),
            part: (
                "Ce n’est pas possible pour le moment",
                "Quelque chose dont cette page a besoin n’est pas disponible.",
            ),
            again: ("Cette page réessaiera d’elle-même dans ", " s."),
            later: ("Veuillez réessayer dans ", " s."),
            stop: "Ne pas réessayer automatiquement",
            now: "Réessayer maintenant",
            mention: "Si vous demandez de l’aide, indiquez",
        },
        Language::Italian => Words {
            busy: (
                "C’è molta richiesta in questo momento",
                "Al momento non riusciamo a gestire tante richieste insieme.",
            ),
            moment: ("Torniamo tra un attimo", "Il servizio si sta riavviando."),
            maintenance: ("Manutenzione in corso", "Il servizio tornerà presto."),
            part: (
                "Al momento non è possibile",
                "Qualcosa di cui questa pagina ha bisogno non è disponibile.",
            ),
            again: ("Questa pagina riproverà da sola tra ", " s."),
            later: ("Riprovi tra ", " s."),
            stop: "Non riprovare automaticamente",
            now: "Riprova adesso",
            mention: "Se chiede aiuto, indichi",
        },
        Language::Dutch => Words {
            busy: (
                "Het is nu erg druk",
                "Zoveel aanvragen tegelijk kunnen we op dit moment niet aan.",
            ),
            moment: ("Zo terug", "De dienst wordt opnieuw gestart."),
            maintenance: (
                "Onderhoud",
                "Er wordt aan de dienst gewerkt; hij is snel terug.",
            ),
            part: (
                "Dit lukt nu even niet",
                "Iets wat deze pagina nodig heeft, is niet bereikbaar.",
            ),
            again: ("Deze pagina probeert het vanzelf opnieuw over ", " s."),
            later: ("Probeer het opnieuw over ", " s."),
            stop: "Niet vanzelf proberen",
            now: "Nu opnieuw proberen",
            mention: "Als u om hulp vraagt, noem dan",
        },
        Language::Portuguese => Words {
            busy: (
                "Há muita procura neste momento",
                "De momento não conseguimos atender tantos pedidos ao mesmo tempo.",
            ),
            moment: ("Voltamos num instante", "O serviço está a reiniciar."),
            maintenance: ("Em manutenção", "O serviço voltará em breve."),
            part: (
                "Isto não é possível neste momento",
                "Algo de que esta página precisa não está disponível.",
            ),
            again: ("Esta página tenta de novo sozinha dentro de ", " s."),
            later: ("Tente de novo dentro de ", " s."),
            stop: "Não tentar automaticamente",
            now: "Tentar agora",
            mention: "Se pedir ajuda, indique",
        },
        Language::English => Words {
            busy: (
                "We are very busy right now",
                "More people are here than we can serve at once.",
            ),
            moment: ("Back in a moment", "The service is being restarted."),
            maintenance: (
                "Under maintenance",
                "We are working on the service; it will be back soon.",
            ),
            part: (
                "This does not work right now",
                "Something that this page needs is not available.",
            ),
            again: ("This page tries again by itself in ", " s."),
            later: ("Please try again in ", " s."),
            stop: "Do not try by itself",
            now: "Try again now",
            mention: "If you ask for help, mention",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(cause: Cause, language: Language, repeats: bool) -> String {
        let mut out = String::new();
        let page = PageFor {
            cause,
            id: RefusalId(7),
            retry_after: Duration::from_millis(3200),
            repeats,
            language,
        };
        write(&mut out, &page);
        out
    }

    #[test]
    fn each_cause_has_a_page_in_each_language_that_names_nothing_of_the_inside() {
        for language in Language::ALL {
            for cause in Cause::ALL {
                let page = page(cause, language, true);
                assert!(page.contains(&format!("<html lang=\"{}\">", language.tag())));
                assert!(page.contains(&RefusalId(7).to_string()), "{page}");
                assert!(
                    !page.contains(cause.code()) || cause == Cause::Maintenance,
                    "{page}"
                );
                assert!(page.len() < 4_096, "{}", page.len());
            }
        }
    }

    #[test]
    fn only_what_repeats_nothing_is_tried_again_by_itself() {
        let again = page(Cause::Overloaded, Language::English, true);
        assert!(again.contains("data-seconds=\"4\"") && again.contains("location.reload"));
        let once = page(Cause::Overloaded, Language::English, false);
        assert!(
            !once.contains("reload") && once.contains("try again in 4 s."),
            "{once}"
        );
    }
}
