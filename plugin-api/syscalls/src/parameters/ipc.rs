//! Message queues, semaphores and shared memory.

use crate::argument_type::ArgumentType;
use crate::constants::{Constants, constants};

const KEY: Constants = constants![IPC_PRIVATE];
const IPC_GET: Constants = constants![IPC_CREAT IPC_EXCL];
const SHMGET: Constants = constants![IPC_CREAT IPC_EXCL SHM_HUGETLB SHM_NORESERVE];
const SHMAT: Constants = constants![SHM_RDONLY SHM_RND SHM_REMAP SHM_EXEC];
const MSG: Constants = constants![IPC_NOWAIT MSG_NOERROR MSG_EXCEPT MSG_COPY];
// linux/msg.h, linux/sem.h, linux/shm.h
const MSGCTL: Constants = constants![
    IPC_RMID IPC_SET IPC_STAT IPC_INFO MSG_STAT MSG_INFO;
    MSG_STAT_ANY = 13
];
const SEMCTL: Constants = constants![
    IPC_RMID IPC_SET IPC_STAT IPC_INFO GETPID GETVAL GETALL GETNCNT GETZCNT SETVAL SETALL SEM_STAT SEM_INFO;
    SEM_STAT_ANY = 20
];
const SHMCTL: Constants = constants![
    IPC_RMID IPC_SET IPC_STAT IPC_INFO SHM_LOCK SHM_UNLOCK;
    SHM_STAT = 13 SHM_INFO = 14 SHM_STAT_ANY = 15
];

pub fn argument_type(call: &str, parameter: &str) -> Option<ArgumentType> {
    Some(match (call, parameter) {
        ("msgget" | "semget" | "shmget", "key") => ArgumentType::Constant(KEY),
        ("msgget", "msgflg") | ("semget", "semflg") => ArgumentType::FlagsAndMode(IPC_GET),
        ("shmget", "shmflg") => ArgumentType::FlagsAndMode(SHMGET),
        ("shmat", "shmflg") => ArgumentType::Flags(SHMAT),
        ("msgsnd" | "msgrcv", "msgflg") => ArgumentType::Flags(MSG),
        ("msgctl", "cmd") => ArgumentType::Constant(MSGCTL),
        ("semctl", "cmd") => ArgumentType::Constant(SEMCTL),
        ("shmctl", "cmd") => ArgumentType::Constant(SHMCTL),
        _ => return None,
    })
}
