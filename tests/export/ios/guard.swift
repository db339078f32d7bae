/// Runs the Swift guard for the tests: one JSON request a line in, one answer a line out.
///
/// The model is on the other side: a line {"ids", "types"} asks for the heads of a window, and the next line in is the answer.
///
/// guard GUARD TABLES  (the folder of the guard's files, and tables.json)

import Foundation

@testable import BreakfixGuard

/// A classifier that judges nothing, or has no thresholds.
struct Broken: CalibratedClassifier {
    let thresholds: [String: [String: [String: Double]]]
    let windows: [Scores]

    func score(_ passages: [Passage]) -> [[Scores]] { passages.map { _ in windows } }
}

func seen(_ verdict: Verdict) -> Json {
    object([
        "action": text(verdict.action.rawValue), "rail": text(verdict.rail.rawValue),
        "category": verdict.category.map(text) ?? .null, "score": .number(verdict.score),
        "span": list([verdict.span.start, verdict.span.end]), "message": text(verdict.message), "failed": .bool(verdict.failed),
        "hard": .bool(verdict.hard), "would": (verdict.would?.rawValue).map(text) ?? .null, "findings": found(verdict.findings),
    ])
}

func found(_ findings: [Finding]) -> Json {
    .list(findings.map { .list([text($0.kind), .number(Double($0.start)), .number(Double($0.end))]) })
}

func event(_ event: StreamEvent) -> Json {
    switch event {
    case .released(let text, let end, let verdict):
        return object(["text": .text(text), "end": .number(Double(end)), "verdict": seen(verdict)])
    case .stopped(let keep, let verdict): return object(["keep": .number(Double(keep)), "verdict": seen(verdict)])
    }
}

/// Opens guards and answers requests about them.
struct Runner {
    let folder: URL
    let tables: URL
    var judges: [Text: Guard] = [:]

    func bytes(_ name: String) throws -> [UInt8] { try Array(Data(contentsOf: folder.appendingPathComponent(name))) }

    mutating func open(_ request: Json) throws -> Json {
        let breaks = request["breaks"].string ?? ""
        var tables = try Array(Data(contentsOf: self.tables))
        if let given = request["tables"].text { tables = Array(given.string.utf8) }
        var calibration = try bytes("calibration.json")
        if let given = request["calibration"].text { calibration = Array(given.string.utf8) }
        let files = Guard.Files(
            tokenizer: try bytes("tokenizer.json"), calibration: calibration, policy: encoded(request["rules"]), tables: tables,
            model: Piped(breaks: breaks))
        let scores = Scores(unsafe: 0, jailbreak: 0, hazard: "S1", refusal: 0, start: 0, end: 1)
        let broken: Broken? =
            breaks == "windows" ? Broken(thresholds: [:], windows: [])
            : breaks == "thresholds" ? Broken(thresholds: ["input": [:], "output": [:]], windows: [scores]) : nil
        let cannotRead: @Sendable (Text) throws -> [Form] = { _ in throw GuardError("too deep") }
        let read = breaks == "reading" ? cannotRead : nil
        judges[request["name"].text ?? []] = try Guard(files, policy: try Policy(request["rules"]), classifier: broken, read: read)
        return .bool(true)
    }

    func answer(_ request: Json) throws -> Json {
        guard let judge = judges[request["name"].text ?? []] else { throw GuardError("there is no such guard") }
        let said = request["text"].text ?? []
        switch request["op"].string {
        case "input": return seen(judge.checkInput(said, context: (request["context"].list ?? []).compactMap { $0.text }))
        case "output": return seen(judge.checkOutput(prompt: request["prompt"].text ?? [], answer: said))
        case "stream":
            let rail = judge.stream(prompt: request["prompt"].text ?? [])
            var events: [StreamEvent] = []
            for piece in request["pieces"].list ?? [] where !rail.over { events += rail.feed(piece.text ?? []) }
            return .list((rail.over ? events : events + rail.finish()).map(event))
        case "forms":
            return .list(try judge.read(said).map { form in
                object(["how": text(form.how), "text": .text(form.text), "starts": list(form.starts)])
            })
        case "windows": return try windows(judge, request)
        case "private":
            let findings = judge.rules.find(said)
            return object(["findings": found(findings), "redacted": .text(redact(said, findings))])
        case "phrases":
            let phrases = PhraseList((request["phrases"].list ?? []).compactMap { $0.text }, judge.normalizer, casefold: judge.casefold)
            let first = phrases.first(said).map { list([$0.start, $0.end]) } ?? .null
            return object(["first": first, "whole": .bool(phrases.matchesWhole(said))])
        default: throw GuardError("there is no such request")
        }
    }

    /// The windows of a passage; with `scored`, the scores of each as well.
    func windows(_ judge: Guard, _ request: Json) throws -> Json {
        guard let classifier = judge.classifier as? Classifier else { throw GuardError("there is no classifier") }
        let passage = Passage(prompt: request["prompt"].text ?? [], answer: request["answer"].text)
        return .list(try classifier.windows(passage).map { window in
            var row: [String: Json] = [
                "ids": list(window.ids.map(Int.init)), "types": .number(Double(window.types.reduce(0, +))),
                "span": list([window.start, window.end]), "unread": .number(Double(window.unread)),
            ]
            if request["scored"].bool ?? false {
                let scores = try classifier.scores(classifier.run(window), passage.answer == nil ? .input : .output, window)
                row["scores"] = .list([.number(scores.unsafe), .number(scores.jailbreak), text(scores.hazard)])
            }
            return object(row)
        })
    }
}

@main
struct Main {
    static func main() throws {
        let arguments = CommandLine.arguments.map { URL(fileURLWithPath: $0) }
        var runner = Runner(folder: arguments[1], tables: arguments[2])
        while let request = try readRequest() {
            do {
                write(object(["done": request["op"].string == "open" ? try runner.open(request) : try runner.answer(request)]))
            } catch {
                write(object(["error": text("\(error)")]))
            }
        }
    }
}
