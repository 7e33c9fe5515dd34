//! Runs the ping example.

fn main() -> ntmobile::Result<()> {
    for (number, round_trip) in ntmobile_examples::ping::run()?.into_iter().enumerate() {
        println!("ping {number}: {} ms", round_trip.as_secs_f64() * 1_000.0);
    }
    Ok(())
}
