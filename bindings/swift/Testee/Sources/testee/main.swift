import Foundation
import Natsune

/// The Swift testee: does through the public package what the runner says, one JSON line in, one out.
final class Testee: @unchecked Sendable {
    private let lock = NSLock()
    private var objects: [String: Object] = [:]
    private var tasks: [Int: Task<Void, Never>] = [:]

    func keep(_ name: String?, _ object: Object) {
        guard let name else { return }
        lock.withLock { objects[name] = object }
    }

    func object(_ name: String?) throws -> Object {
        guard let found = lock.withLock({ objects[name ?? ""] }) else { throw Foreign("no object is called \(name ?? "")") }
        return found
    }

    func anyClient() throws -> NatsClient {
        for case .client(let client, _) in lock.withLock({ Array(objects.values) }) { return client }
        throw Foreign("there is no client")
    }

    func say(_ line: [String: Any]) {
        guard let data = try? JSONSerialization.data(withJSONObject: line) else { return }
        lock.withLock { FileHandle.standardOutput.write(data + Data("\n".utf8)) }
    }

    private func answer(_ number: Int, _ request: Args) async {
        do {
            let op = try request.needed("op")
            if op == "drop" {
                _ = lock.withLock { objects.removeValue(forKey: request.text("on") ?? "") }
                return say(["n": number, "ok": [String: Any]()])
            }
            if op == "cancel" {
                let target = request.object("args").int("target") ?? 0
                lock.withLock { tasks[target] }?.cancel()
                return say(["n": number, "ok": [String: Any]()])
            }
            let ok = try await run(op, request.text("as"), request.text("on"), request.object("args"))
            say(["n": number, "ok": ok.fields])
        } catch let error as NatsError {
            let detail = (try? JSONSerialization.jsonObject(with: Data(error.detailJSON.utf8))) ?? [String: Any]()
            let failure: [String: Any] = [
                "code": error.code.rawValue, "message": error.message, "retryable": error.retryable,
                "applied": error.applied.rawValue, "detail": detail,
            ]
            say(["n": number, "err": failure])
        } catch is CancellationError {
            say(["n": number, "err": ["code": "cancelled", "message": ""]])
        } catch {
            say(["n": number, "err": ["code": "foreign", "message": "\(error)"]])
        }
    }

    func start(_ line: String) {
        guard let fields = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
            let number = fields["n"] as? Int
        else { return }
        let request = Args(fields: fields)
        lock.withLock { tasks[number] = Task { await self.answer(number, request) } }
    }
}

let testee = Testee()
testee.say(["hello": ["language": "swift", "version": "0.1.0"]])
Thread.detachNewThread {
    while let line = readLine() { testee.start(line) }
    exit(0)
}
dispatchMain()
