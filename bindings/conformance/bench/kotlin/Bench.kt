// The cases on natsune: `BenchKt CASE URL COUNT`, one JSON line.
package io.natsune.bench

import com.sun.management.OperatingSystemMXBean
import io.natsune.Client
import io.natsune.connect
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import java.lang.management.ManagementFactory
import java.util.Locale
import java.util.concurrent.atomic.AtomicInteger
import kotlin.system.exitProcess

private val payload = ByteArray(128) { 'x'.code.toByte() }

/** A message as the case wants it: its subject and its payload are looked at. */
private fun seen(
    subject: String,
    data: ByteArray,
) = check(data.size == payload.size && subject.isNotEmpty()) { "${data.size} bytes on $subject" }

/** So many coroutines, each one operation after the other. */
private suspend fun lanes(
    parallel: Int,
    count: Int,
    once: suspend () -> Unit,
) = coroutineScope {
    val left = AtomicInteger(count)
    repeat(parallel) { launch { while (left.getAndDecrement() > 0) once() } }
}

private suspend fun make(
    name: String,
    client: Client,
): suspend (Int) -> Unit {
    val js = client.jetstream()
    val ask = suspend { client.request("bench.req", payload).let { seen(it.subject, it.data) } }
    val store: suspend () -> Unit = { js.publish("bench.js", payload) }
    return when (name) {
        "pub" -> { count ->
            repeat(count) { client.publish("bench.pub", payload) }
            client.flush()
        }
        "sub" -> {
            val sub = client.subscribe("bench.sub", pendingMessages = 1L shl 40, pendingBytes = 1L shl 50)
            val receive: suspend (Int) -> Unit = { count ->
                client.publish("bench.flood", count.toString())
                sub.messages.take(count).collect { seen(it.subject, it.data) }
            }
            receive
        }
        "req1" -> { count -> lanes(1, count, ask) }
        "req256" -> { count -> lanes(256, count, ask) }
        "jspub1" -> { count -> lanes(1, count, store) }
        "jspub256" -> { count -> lanes(256, count, store) }
        "jspull" -> {
            val consumption = js.consumer("BENCH", "bench").consume(maxMessages = 500)
            val pull: suspend (Int) -> Unit = { count ->
                repeat(count) {
                    val message = checkNotNull(consumption.next()) { "the consumption ended" }
                    seen(message.subject, message.data)
                    message.ack()
                }
                client.flush()
            }
            pull
        }
        else -> throw IllegalArgumentException("no case is called $name")
    }
}

fun main(args: Array<String>): Unit =
    runBlocking(Dispatchers.Default) {
        val (name, url, number) = args
        val count = number.toInt()
        val system = ManagementFactory.getOperatingSystemMXBean() as OperatingSystemMXBean
        val round = make(name, connect(url))
        round(count / 4)
        val begun = System.nanoTime()
        val cpu = system.processCpuTime
        round(count)
        val used = (system.processCpuTime - cpu) / 1e9
        val seconds = (System.nanoTime() - begun) / 1e9
        val line = """{"case":"%s","ops":%d,"seconds":%.6f,"cpu_seconds":%.6f}"""
        println(line.format(Locale.ROOT, name, count, seconds, used))
        exitProcess(0)
    }
