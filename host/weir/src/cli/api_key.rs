//! `weir api-key`: creates a key for a tenant, and its stored form for the configuration.

use weir_server::identity::api_key::ApiKey;

/// Prints a new key and its stored form.
///
/// # Errors
/// The operating system provides no random numbers.
pub(super) fn run() -> anyhow::Result<()> {
    let mut random = [0; 40];
    getrandom::fill(&mut random)
        .map_err(|error| anyhow::anyhow!("cannot get random numbers: {error}"))?;
    let (id, secret) = random.split_at(8);
    let key = ApiKey::of(id.try_into()?, secret.try_into()?);
    println!("{}", key.as_str());
    eprintln!("Give this key to the tenant; it is not shown again. Add this to [tenants.NAME]:");
    eprintln!("api_keys = [\"{}\"]", key.stored());
    Ok(())
}
