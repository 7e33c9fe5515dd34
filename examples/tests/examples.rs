//! Every example does what its page says.

use std::time::Duration;

#[test]
fn the_echo_goes_on_over_one_connection_while_alice_travels() {
    assert_eq!(ntmobile_examples::echo::run().unwrap(), ["from home", "boarding", "from the train"]);
}

#[test]
fn a_ping_takes_the_delays_of_the_path_there_and_back() {
    let round_trips = ntmobile_examples::ping::run().unwrap();
    assert_eq!(round_trips, [Duration::from_millis(2 * (8 + 3)); 4]);
}
