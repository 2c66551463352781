//! A clean restart: SIGTERM, a drain, exit code 0, and the next server on the same port.

use std::time::Duration;

use anyhow::Result;
use wse_client::close;

use crate::{
    Setup,
    member::age,
    plot::Histogram,
    rooms::Rooms,
    sheet::{Of, Sheet},
    watched::Watched,
};

pub(crate) async fn run(setup: &Setup, sheet: &mut Sheet) -> Result<()> {
    let (count, window) = setup.pick((200, 3.0), (2000, 20.0));
    let every = Duration::from_millis(setup.pick(500, 2000));
    let text = format!("{window}s");
    let options: &[&str] = &["--history-messages", "4096", "--drain-window", &text, "--drain-retry-after", "1s"];
    let first = Watched::start(setup, options).await?;
    let address = first.server.address;
    let mut rooms = Rooms::fill(&first.url(), count).await?;
    rooms.publish_for(every, Duration::from_secs(2)).await?;
    rooms.mark_risk(setup.pick(2, 1));
    let began = age();
    let restart = async {
        let status = first.terminate().await?;
        let gone = age();
        let next = Watched::start_at(setup, address, options).await?;
        Ok((status, gone, next))
    };
    let (status, gone, _next) = rooms.publish_during(every, restart).await?;
    let up = age();
    // Until the window is over for everyone, and a little more.
    let rest = Duration::from_secs_f64(window + 2.5);
    rooms.publish_for(every, rest).await?;
    rooms.all_up(2, Duration::from_secs(60)).await?;

    sheet.note("clients that publish and listen", count);
    sheet.exactly("exit code", status.code().unwrap_or(-1), 0);
    sheet.note("drain window", Of(window, "s"));
    sheet.note("from SIGTERM to the end of the process", Of((gone - began).as_secs_f64(), "s"));
    sheet.note("until the next server was up", Of((up - gone).as_secs_f64(), "s"));
    let codes = rooms.each(|member| {
        let diary = member.diary();
        diary.downs.iter().filter_map(|(_, down)| Some(down.close.as_ref()?.code)).next()
    });
    let told = codes.iter().filter(|code| **code == Some(close::DRAINING)).count();
    sheet.exactly("clients that were closed with 4300", told, count);
    let attempts = rooms.each(|member| member.diary().downs.len());
    sheet.note("clients that needed more than one attempt", attempts.iter().filter(|count| **count > 1).count());
    let returns: Vec<f64> = rooms.returns()?.into_iter().map(|at| at.as_secs_f64() - began.as_secs_f64()).collect();
    let first = returns.iter().copied().fold(f64::INFINITY, f64::min);
    let last = returns.iter().copied().fold(0.0, f64::max);
    sheet.least("the first came back after", Of(first, "s"), Of(window, "s"));
    sheet.most("the last came back after", Of(last, "s"), Of(2.0 * window + 1.0 + 5.0, "s"));
    // The window begins when the last one was sent away, and a second for the restart has passed.
    let opens = window + 1.0 - 0.2;
    let mut quarters = [0; 4];
    for at in &returns {
        quarters[(((at - opens) / window * 4.0).max(0.0) as usize).min(3)] += 1;
    }
    let share = quarters.map(|part| format!("{} %", part * 100 / count)).join(", ");
    let spread = quarters.iter().all(|part| (count * 8 / 100..=count * 55 / 100).contains(part));
    sheet.check("back in each quarter of the window", share, "8 % to 55 % each", spread);
    rooms.settle(sheet).await?;
    if let Some(folder) = &setup.plots {
        let title = format!("{count} clients after SIGTERM with a window of {window} s: when they were back");
        Histogram { title, unit: "seconds after SIGTERM", values: &returns }
            .write(&folder.join("reliability-drain.svg"))?;
    }
    rooms.leave().await;
    Ok(())
}
