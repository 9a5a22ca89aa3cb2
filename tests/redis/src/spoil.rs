//! What is done to all values of a server at once, so that its clients see all of it or nothing.

use crate::reply::Reply;
use crate::server::RedisServer;

/// What happens to all values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// They become garbage, half of them of another type.
    Garbage,
    /// They lose their second half.
    Truncate,
    /// Each key gets the value of another one.
    Swap,
    /// Nothing, but they are kept apart, in another database.
    Keep,
    /// Those that were kept take the place of those that have come since.
    PutBack,
}

impl Spoil {
    /// The script's end, after [`KEYS`].
    fn script(self) -> &'static str {
        match self {
            Self::Garbage => {
                "for number, key in ipairs(keys) do
                    redis.call('DEL', key)
                    if number % 2 == 0 then
                        redis.call('SET', key, 'garbage')
                    else
                        redis.call('LPUSH', key, 'garbage')
                    end
                end
                return #keys"
            }
            Self::Truncate => {
                "for _, key in ipairs(keys) do
                    local value = redis.call('GET', key)
                    redis.call('SET', key, string.sub(value, 1, math.floor(#value / 2)), 'KEEPTTL')
                end
                return #keys"
            }
            Self::Swap => {
                "if #keys < 2 then return 0 end
                local before = redis.call('GET', keys[#keys])
                for _, key in ipairs(keys) do
                    local value = redis.call('GET', key)
                    redis.call('SET', key, before, 'KEEPTTL')
                    before = value
                end
                return #keys"
            }
            Self::Keep => {
                "redis.call('SELECT', 1)
                redis.call('FLUSHDB')
                redis.call('SELECT', 0)
                for _, key in ipairs(keys) do redis.call('COPY', key, key, 'DB', 1) end
                return #keys"
            }
            Self::PutBack => {
                "local current = {}
                for _, key in ipairs(keys) do current[key] = redis.call('GET', key) end
                redis.call('SELECT', 1)
                local kept = {}
                for _, key in ipairs(redis.call('KEYS', '*')) do
                    kept[key] = redis.call('GET', key)
                end
                redis.call('SELECT', 0)
                local changed = 0
                for key, value in pairs(kept) do
                    if current[key] ~= value then
                        redis.call('SET', key, value)
                        changed = changed + 1
                    end
                end
                return changed"
            }
        }
    }
}

/// The keys that have strings, in `keys`.
const KEYS: &str = "
    local keys = {}
    for _, key in ipairs(redis.call('KEYS', '*')) do
        if redis.call('TYPE', key).ok == 'string' then table.insert(keys, key) end
    end
    ";

impl RedisServer {
    /// Does this to all values that are strings. Returns how many that were: of those that are put back,
    /// how many differ from what was there.
    ///
    /// # Panics
    /// It is not a single server, or cannot be reached.
    #[track_caller]
    pub fn spoil(&self, spoil: Spoil) -> usize {
        let script = format!("{KEYS}{}", spoil.script());
        match self.run(&["EVAL", &script, "0"]) {
            Reply::Number(count) => usize::try_from(count).unwrap(),
            other => panic!("{spoil:?}: {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["a", "b", "c", "d"];

    /// A server with a value under each of the names.
    fn server() -> RedisServer {
        let server = RedisServer::start();
        for name in NAMES {
            server.set(name, name.repeat(4).as_bytes());
        }
        server
    }

    fn text(server: &RedisServer, key: &str) -> String {
        String::from_utf8(server.get(key).unwrap()).unwrap()
    }

    #[test]
    fn garbage_is_of_either_type() {
        let server = server();
        assert_eq!(server.spoil(Spoil::Garbage), NAMES.len());
        let types = NAMES.map(|name| server.run(&["TYPE", name]).text());
        assert_eq!(types.iter().filter(|one| *one == "list").count(), 2, "{types:?}");
        let strings = NAMES.iter().zip(types).filter(|(_, one)| one == "string");
        assert!(strings.map(|(name, _)| text(&server, name)).all(|value| value == "garbage"));
        // Lists are not touched again.
        assert_eq!(server.spoil(Spoil::Truncate), 2);
    }

    #[test]
    fn values_lose_their_second_half_and_keep_their_ttl() {
        let server = server();
        server.run(&["EXPIRE", "a", "100"]);
        assert_eq!(server.spoil(Spoil::Truncate), NAMES.len());
        assert_eq!(NAMES.map(|name| text(&server, name)), ["aa", "bb", "cc", "dd"]);
        assert!(matches!(server.run(&["TTL", "a"]), Reply::Number(1..)));
    }

    #[test]
    fn every_key_gets_the_value_of_another() {
        let server = server();
        assert_eq!(server.spoil(Spoil::Swap), NAMES.len());
        let mut values = NAMES.map(|name| text(&server, name));
        for (name, value) in NAMES.iter().zip(&values) {
            assert!(!value.starts_with(name), "{values:?}");
        }
        values.sort();
        assert_eq!(values, NAMES.map(|name| name.repeat(4)), "each value is still there once");
    }

    #[test]
    fn what_was_kept_comes_back() {
        let server = server();
        assert_eq!(server.spoil(Spoil::Keep), NAMES.len());
        server.set("a", b"new");
        server.run(&["DEL", "b"]);
        server.set("e", b"not there then");
        assert_eq!(server.spoil(Spoil::PutBack), 2);
        assert_eq!(NAMES.map(|name| text(&server, name)), NAMES.map(|name| name.repeat(4)));
        assert_eq!(text(&server, "e"), "not there then");
        // Another time, only what is there then.
        server.run(&["DEL", "e"]);
        assert_eq!(server.spoil(Spoil::Keep), NAMES.len());
        assert_eq!(server.spoil(Spoil::PutBack), 0);
    }
}
