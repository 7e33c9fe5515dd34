//! Runs the echo example.

fn main() -> ntmobile::Result<()> {
    for word in ntmobile_examples::echo::run()? {
        println!("bob gave back: {word}");
    }
    Ok(())
}
