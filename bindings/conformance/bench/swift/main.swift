import Foundation
import Natsune

// The cases on Natsune: `bench CASE URL COUNT`, one JSON line.

let payload = Data(repeating: UInt8(ascii: "x"), count: 128)

struct Failure: Error {
    let text: String
}

/// A message as the case wants it: its subject and its payload are looked at.
func seen(_ subject: String, _ data: Data) throws {
    if data.count != 128 || subject.isEmpty { throw Failure(text: "\(data.count) bytes on \(subject)") }
}

/// So many tasks, each one operation after the other.
func lanes(_ parallel: Int, _ count: Int, _ once: @escaping @Sendable () async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        for lane in 0..<parallel {
            let mine = count / parallel + (lane < count % parallel ? 1 : 0)
            group.addTask { for _ in 0..<mine { try await once() } }
        }
        try await group.waitForAll()
    }
}

typealias Round = @Sendable (Int) async throws -> Void

func make(_ name: String, _ client: NatsClient, _ payload: Data) async throws -> Round {
    let js = try client.jetstream()
    let ask: @Sendable () async throws -> Void = {
        let reply = try await client.request("bench.req", payload)
        try seen(reply.subject, reply.data)
    }
    let store: @Sendable () async throws -> Void = { _ = try await js.publish("bench.js", payload) }
    switch name {
    case "pub":
        return { count in
            for _ in 0..<count { try await client.publish("bench.pub", payload) }
            try await client.flush()
        }
    case "sub":
        let subscription = try await client.subscribe("bench.sub", pendingMessages: 1 << 40, pendingBytes: 1 << 50)
        return { count in
            try await client.publish("bench.flood", "\(count)")
            var left = count
            for try await message in subscription {
                try seen(message.subject, message.data)
                left -= 1
                if left == 0 { break }
            }
        }
    case "req1": return { try await lanes(1, $0, ask) }
    case "req256": return { try await lanes(256, $0, ask) }
    case "jspub1": return { try await lanes(1, $0, store) }
    case "jspub256": return { try await lanes(256, $0, store) }
    case "jspull":
        let consumption = try await js.consumer("BENCH", "bench").consume(max: .messages(500))
        return { count in
            for _ in 0..<count {
                guard let message = try await consumption.next() else { throw Failure(text: "the consumption ended") }
                try seen(message.subject, message.data)
                try message.ack()
            }
            try await client.flush()
        }
    default: throw Failure(text: "no case is called \(name)")
    }
}

/// User and system time of this process, in seconds.
func cpuSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Outside of the main actor, as programs do it.
func measure(_ name: String, _ url: String, _ count: Int, _ payload: Data) async throws -> String {
    let round = try await make(name, try await NatsClient.connect(url), payload)
    try await round(count / 4)
    let (begun, cpu) = (ContinuousClock.now, cpuSeconds())
    try await round(count)
    let (took, used) = (ContinuousClock.now - begun, cpuSeconds() - cpu)
    let seconds = Double(took.components.seconds) + Double(took.components.attoseconds) / 1e18
    return "{\"case\":\"\(name)\",\"ops\":\(count),\"seconds\":\(seconds),\"cpu_seconds\":\(used)}"
}

let arguments = CommandLine.arguments
guard arguments.count == 4, let count = Int(arguments[3]) else { fatalError("usage: bench CASE URL COUNT") }
print(try await measure(arguments[1], arguments[2], count, payload))
exit(0)
