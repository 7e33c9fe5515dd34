//! A lab that is left standing: programs that know nothing of NTMobile, entered hosts, moves by hand.

use crate::Bench;

#[test]
#[ignore = "needs root and network namespaces"]
fn a_standing_lab_is_entered_moved_about_in_and_taken_down() {
    let bench = Bench::new("t-standing");
    let said = bench.must(&["up", "quickstart"]);
    assert!(said.contains("shell alice") && said.contains("alice.u1.example in home"), "{said}");
    bench.must(&["shell", "alice", "--", "ping", "-c", "2", "-W", "10", "bob.u2.example"]);
    let status = bench.must(&["shell", "alice", "--", &crate::ntm().display().to_string(), "status"]);
    assert!(status.contains("bob.u2.example  through rs1.u1.example"), "{status}");

    // She keeps her address wherever she is; on the campus she can be reached.
    bench.must(&["move", "alice", "campus"]);
    bench.must(&["shell", "bob", "--", "ping", "-c", "3", "-W", "10", "alice.u1.example"]);
    let addresses = bench.must(&["shell", "alice", "--", "ip", "-4", "-o", "addr"]);
    assert!(addresses.contains("198.19.") && !addresses.contains(" 10."), "{addresses}");

    for (arguments, meant) in [
        (["shell", "alcie", "--"].as_slice(), "Did you mean \"alice\"?"),
        (["move", "alice", "hom"].as_slice(), "Did you mean \"home\"?"),
        (["up", "quickstart"].as_slice(), "stands already"),
    ] {
        let output = bench.lab(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(meant), "{arguments:?}: {errors}");
    }
    bench.must(&["down"]);
    bench.assert_gone();
    let output = bench.lab(&["shell", "alice"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no lab \"t-standing\" stands"), "{errors}");
}
