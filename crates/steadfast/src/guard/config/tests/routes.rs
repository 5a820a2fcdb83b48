//! What a configuration says of routes.

use super::*;

#[test]
fn a_file_adds_to_what_the_code_says_of_a_pattern_and_a_stronger_file_to_both() {
    let code = Guard::builder()
        .route("/reports/*", RouteClass::critical().with_exemption())
        .route(
            "/feed",
            RouteClass::background().with_streams(Streams::Always),
        )
        .route("/pay", RouteClass::critical());
    let weak = toml("route.'/reports/*' = { priority = 'background', draining = 'leave' }");
    let strong = "route.'/reports/*'.priority = 'sheddable'\nroute.'/feed'.draining = 'finish'";
    let strong = toml(strong);
    let guard = code.config(weak.merge(strong)).build().expect("valid");
    let shedder = guard.control().shedder().clone();
    let class = |path: &str| {
        let request = http::Request::get(path).body(()).expect("a request");
        shedder.classes().of(&request)
    };
    let reports = RouteClass::sheddable().when_draining(WhenDraining::Leave);
    assert_eq!(class("/reports/7"), reports.with_exemption());
    let feed = RouteClass::background().with_streams(Streams::Always);
    assert_eq!(class("/feed"), feed.when_draining(WhenDraining::Finish));
    let code = Guard::builder().route("/pay", RouteClass::critical().with_exemption());
    let counted = code.config(toml("route.'/pay'.exempt = false")).build();
    let pay = http::Request::get("/pay").body(()).expect("a request");
    let found = counted
        .expect("valid")
        .control()
        .shedder()
        .classes()
        .of(&pay);
    assert_eq!(
        found,
        RouteClass::critical(),
        "a file can take an exemption back"
    );
    assert_eq!(class("/pay"), RouteClass::critical());
    let wrong = toml("route.'reports'.exempt = true");
    let error = Guard::builder().config(wrong).build().expect_err("a fault");
    assert!(
        error.to_string().contains("does not begin with /"),
        "{error}"
    );
}
