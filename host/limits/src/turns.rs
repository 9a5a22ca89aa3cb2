//! Whose work is next, where there is more than can be done at once: a queue that gives each account
//! its fair part of the time, however much the others have put in.
//!
//! This is start-time fair queueing (Goyal, Vin and Cheng, 1996), twice. An account has a *virtual
//! time*, which grows with what its work has cost, divided by its weight; the account with the
//! lowest is next. An account that had nothing to do starts at the time of whoever is served, so
//! it cannot save up time and then keep the others waiting. Accounts belong to groups, and groups
//! share the time in the same way: many accounts in one group get no more than one account in
//! another.
//!
//! Out of scope: doing the work, and measuring what it costs.

use std::collections::VecDeque;

/// What a unit of cost adds to the virtual time of an account with the weight 1.
const SCALE: u128 = 1 << 16;

/// A queue of work of several accounts.
#[derive(Debug)]
pub struct Turns<T> {
    groups: Vec<Group<T>>,
    /// The virtual time of the group that was served last.
    now: u128,
    waiting: usize,
}

/// Work that belongs together, in a [`Turns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(usize);

/// An account in a [`Turns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId {
    group: usize,
    account: usize,
}

#[derive(Debug)]
struct Group<T> {
    weight: u32,
    time: u128,
    accounts: Vec<Account<T>>,
    /// The virtual time of the account that was served last.
    now: u128,
    waiting: usize,
}

#[derive(Debug)]
struct Account<T> {
    weight: u32,
    time: u128,
    work: VecDeque<T>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { groups: Vec::new(), now: 0, waiting: 0 }
    }
}

impl<T> Turns<T> {
    /// Adds a group. One with twice the weight of another gets twice the time.
    pub fn add_group(&mut self, weight: u32) -> GroupId {
        let weight = weight.max(1);
        self.groups.push(Group { weight, time: 0, accounts: Vec::new(), now: 0, waiting: 0 });
        GroupId(self.groups.len() - 1)
    }

    /// Adds an account to a group. Accounts stay as long as the queue does.
    pub fn add_account(&mut self, GroupId(group): GroupId, weight: u32) -> AccountId {
        let accounts = &mut self.groups[group].accounts;
        accounts.push(Account { weight: weight.max(1), time: 0, work: VecDeque::new() });
        AccountId { group, account: accounts.len() - 1 }
    }

    /// Puts work in the queue, behind the other work of its account.
    pub fn push(&mut self, id: AccountId, work: T) {
        let group = &mut self.groups[id.group];
        if group.waiting == 0 {
            group.time = group.time.max(self.now);
        }
        let account = &mut group.accounts[id.account];
        if account.work.is_empty() {
            account.time = account.time.max(group.now);
        }
        account.work.push_back(work);
        group.waiting += 1;
        self.waiting += 1;
    }

    /// Takes the work that is next. Costs time in proportion to the number of groups, and of
    /// accounts in one of them.
    pub fn pop(&mut self) -> Option<(AccountId, T)> {
        let ready = self.groups.iter_mut().enumerate().filter(|(_, group)| group.waiting > 0);
        let (index, group) = ready.min_by_key(|(_, group)| group.time)?;
        let ready = group.accounts.iter_mut().enumerate();
        let ready = ready.filter(|(_, account)| !account.work.is_empty());
        let (number, account) = ready.min_by_key(|(_, account)| account.time)?;
        let work = account.work.pop_front()?;
        group.now = group.now.max(account.time);
        self.now = self.now.max(group.time);
        group.waiting -= 1;
        self.waiting -= 1;
        Some((AccountId { group: index, account: number }, work))
    }

    /// Charges an account for what its work has cost, in any unit.
    pub fn charge(&mut self, id: AccountId, cost: u64) {
        let group = &mut self.groups[id.group];
        group.time += u128::from(cost) * SCALE / u128::from(group.weight);
        let account = &mut group.accounts[id.account];
        account.time += u128::from(cost) * SCALE / u128::from(account.weight);
    }

    /// How much work waits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether no work waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Takes all work out of the queue.
    pub fn clear(&mut self) -> Vec<T> {
        let accounts = self.groups.iter_mut().flat_map(|group| {
            group.waiting = 0;
            &mut group.accounts
        });
        self.waiting = 0;
        accounts.flat_map(|account| account.work.drain(..)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Serves `rounds` pieces of work, each of which its account puts back, and returns what each
    /// account's work cost in all. `cost` is that of one piece.
    fn served(
        turns: &mut Turns<u64>,
        accounts: &[AccountId],
        costs: &[u64],
        rounds: usize,
    ) -> BTreeMap<AccountId, u64> {
        let mut total = BTreeMap::new();
        for (account, cost) in accounts.iter().zip(costs) {
            turns.push(*account, *cost);
        }
        for _ in 0..rounds {
            let Some((account, cost)) = turns.pop() else { break };
            turns.charge(account, cost);
            *total.entry(account).or_default() += cost;
            turns.push(account, cost);
        }
        total
    }

    #[test]
    fn accounts_share_by_cost_and_weight() {
        let mut turns = Turns::default();
        let group = turns.add_group(1);
        let accounts = [1, 1, 2].map(|weight| turns.add_account(group, weight));
        let total = served(&mut turns, &accounts, &[10, 1, 5], 4_000);
        let parts = accounts.map(|account| total[&account]);
        let all: u64 = parts.iter().sum();
        for (part, quarters) in parts.into_iter().zip([1, 1, 2]) {
            assert!(part.abs_diff(all * quarters / 4) <= 20, "{parts:?}");
        }
    }

    #[test]
    fn many_accounts_of_one_group_get_no_more_than_one_of_another() {
        let mut turns = Turns::default();
        let (large, small) = (turns.add_group(1), turns.add_group(1));
        let mut accounts: Vec<_> = (0..9).map(|_| turns.add_account(large, 1)).collect();
        accounts.push(turns.add_account(small, 1));
        let total = served(&mut turns, &accounts, &[1; 10], 1_800);
        assert!(total[&accounts[9]].abs_diff(900) <= 2, "{total:?}");
        assert!(accounts[..9].iter().all(|account| total[account].abs_diff(100) <= 2));
    }

    #[test]
    fn who_comes_late_is_next_and_has_saved_nothing_up() {
        for in_a_group_of_its_own in [false, true] {
            let mut turns = Turns::default();
            let group = turns.add_group(1);
            let busy = turns.add_account(group, 1);
            let other = if in_a_group_of_its_own { turns.add_group(1) } else { group };
            let late = turns.add_account(other, 1);
            served(&mut turns, &[busy], &[10], 1_000);
            for _ in 0..100 {
                turns.push(late, 10);
            }
            let next = turns.pop().map(|(account, _)| account);
            assert_eq!(next, Some(late), "it has had nothing yet");
            turns.push(late, 10);
            turns.charge(late, 10);
            // From now on, each gets half.
            let mut of_late = 0;
            for _ in 0..100 {
                let Some((account, cost)) = turns.pop() else { break };
                turns.charge(account, cost);
                of_late += usize::from(account == late);
                turns.push(account, cost);
            }
            assert_eq!(of_late, 50, "{in_a_group_of_its_own}");
        }
    }

    #[test]
    fn work_of_one_account_stays_in_order() {
        let mut turns = Turns::default();
        let group = turns.add_group(1);
        let account = turns.add_account(group, 1);
        (0..3).for_each(|work| turns.push(account, work));
        assert_eq!(turns.len(), 3);
        let order: Vec<_> = std::iter::from_fn(|| turns.pop()).map(|(_, work)| work).collect();
        assert_eq!(order, [0, 1, 2]);
        turns.push(account, 3);
        assert_eq!((turns.clear(), turns.is_empty()), (vec![3], true));
    }

    proptest! {
        /// While two accounts of equal weight both have work, what they have cost never differs by
        /// more than two pieces.
        #[test]
        fn nobody_falls_behind(
            costs in prop::collection::vec((1..50_u64, 1..50_u64), 1..200),
        ) {
            let mut turns = Turns::default();
            let group = turns.add_group(1);
            let accounts = [(); 2].map(|()| turns.add_account(group, 1));
            for (a, b) in &costs {
                turns.push(accounts[0], *a);
                turns.push(accounts[1], *b);
            }
            let mut total = BTreeMap::from(accounts.map(|account| (account, 0_i64)));
            let mut left = BTreeMap::from(accounts.map(|account| (account, costs.len())));
            while let Some((account, cost)) = turns.pop() {
                turns.charge(account, cost);
                if let (Some(total), Some(left)) = (total.get_mut(&account), left.get_mut(&account)) {
                    *total += cost as i64;
                    *left -= 1;
                }
                if left.values().all(|left| *left > 0) {
                    let difference = total[&accounts[0]] - total[&accounts[1]];
                    prop_assert!(difference.abs() <= 100, "{difference}");
                }
            }
        }
    }
}
