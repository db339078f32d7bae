/// Opens bundles and holds guarded conversations with a scripted engine, for the tests: one JSON request a line in.
///
/// A line {"ids", "types"} out asks for the heads of a window, a line {"signature", "message", "key"} whether a signature is good.

import BreakfixSession
import Foundation

@testable import BreakfixGuard

func note(_ note: Note?) -> Json {
    guard let note else { return .null }
    return object([
        "action": text(note.action.rawValue), "rail": text(note.rail.rawValue), "category": note.category.map(text) ?? .null,
        "message": text(note.message), "failed": .bool(note.failed),
    ])
}

func told(_ event: TurnEvent) -> Json {
    switch event {
    case .text(let said): return object(["text": text(said)])
    case .blocked(let keep, let why): return object(["blocked": .number(Double(keep)), "note": note(why)])
    case .tooLong: return object(["toolong": .bool(true)])
    case .done(let why, let forgotten, let cut):
        return object(["done": .bool(true), "note": note(why), "forgotten": .number(Double(forgotten)), "cut": .bool(cut)])
    case .broken(let why): return object(["broken": text(why)])
    }
}

func messages(_ json: Json) -> [Message] {
    (json.list ?? []).compactMap { each in
        Message.Role(rawValue: each["role"].string ?? "").map { Message($0, each["content"].string ?? "") }
    }
}

func opened(_ request: Json) throws -> VerifiedBundle {
    let folder = URL(fileURLWithPath: request["folder"].string ?? "")
    let (key, known) = (request["key"].string ?? "", request["known"].string)
    guard request["piped"].bool ?? false else { return try VerifiedBundle.open(folder, key: key, known: known) }
    return try VerifiedBundle.open(folder, key: key, known: known) { signature, message, key in
        let parts = [("signature", signature), ("message", message), ("key", key)]
        write(object(Dictionary(uniqueKeysWithValues: parts.map { ($0, list($1.map(Int.init))) })))
        return try readRequest()?.bool ?? false
    }
}

/// Ask each question in turn; `stops` ends an answer after its first text, `restarts` the conversation.
func talk(_ request: Json) async throws -> Json {
    let bundle = try opened(request)
    let answers = (request["answers"].object ?? [:]).map { ($0.string, $1.string ?? "") }
    let engine = ScriptedEngine(
        Dictionary(uniqueKeysWithValues: answers), context: request["context"].int ?? 1024, breaksAfter: request["breaks"].int)
    let session = GuardedSession(engine, try bundle.guarded(by: Piped()))
    var turns: [Json] = []
    for question in request["questions"].list ?? [] {
        var events: [Json] = []
        for await event in session.ask(question.string ?? "", again: request["again"].bool ?? false) {
            events.append(told(event))
            guard case .text = event, events.count == 1 else { continue }
            if request["stops"].bool ?? false { await session.stop() }
            if request["restarts"].bool ?? false { await session.restart() }
        }
        turns.append(.list(events))
    }
    let history = await session.history.map { object(["role": text($0.role.rawValue), "content": text($0.content)]) }
    return object(["turns": .list(turns), "history": .list(history), "asked": .number(Double(await engine.asked.count))])
}

@main
struct Main {
    static func main() async throws {
        while let request = try readRequest() {
            do {
                write(object(["done": try await answer(request)]))
            } catch {
                write(object(["error": text("\(error)")]))
            }
        }
    }

    static func answer(_ request: Json) async throws -> Json {
        switch request["op"].string {
        case "open": return text(try opened(request).id)
        case "talk": return try await talk(request)
        case "render": return text(try opened(request).template().render(messages(request["conversation"])))
        default: throw GuardError("there is no such request")
        }
    }
}
